"""report.csv and report.html of a batch, made from its manifest: the hardest photos first."""

from __future__ import annotations

import base64
import csv
import html
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from inversion.batch.database import MEASURES, Database
from inversion.batch.overview import Line, counts, line_count, lines
from relatent.core.errors import NoSpaceError
from relatent.core.files import atomic_file
from relatent.core.results import MANIFEST_FILE, SUMMARY_FILES
from relatent.core.wording import printable

CSV_FILE, HTML_FILE = SUMMARY_FILES
MOST_SHOWN = 2000  # rows of report.html; browsers get slow with more, and report.csv has all
DIGITS = {"psnr": 1, "seconds": 2}
TITLES = {
    "loss": "Loss", "lpips": "LPIPS", "psnr": "PSNR (dB)", "ms_ssim": "MS-SSIM",
    "identity_distance": "Identity distance", "seconds": "Seconds",
}  # fmt: skip
STYLE = """
:root { color-scheme: light dark; font-family: system-ui, sans-serif; line-height: 1.4 }
body { margin: 2rem auto; max-width: 75rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { border-bottom: 1px solid #8886; padding: .3rem .6rem; text-align: left; vertical-align: middle }
td.number { text-align: right; font-variant-numeric: tabular-nums }
td img { display: block; image-rendering: auto }
.failed { color: light-dark(#a00, #f88) }
"""


def summarise(outdir: Path) -> None:
    """:func:`write_summary` of a folder, if it has a manifest; a full disk has been told and is no further error."""
    if (outdir / MANIFEST_FILE).is_file():
        with suppress(NoSpaceError):
            manifest = Database(outdir, read_only=True)
            try:
                write_summary(manifest)
            finally:
                manifest.close()


def write_summary(manifest: Database) -> None:
    """Write OUT/report.csv and OUT/report.html.

    Raises:
        OutputError: they cannot be written.
    """
    with atomic_file(manifest.outdir / CSV_FILE) as path, path.open("w", newline="", encoding="utf-8") as file:
        _write_csv(file, lines(manifest))
    with atomic_file(manifest.outdir / HTML_FILE) as path, path.open("w", encoding="utf-8") as file:
        _write_html(file, manifest)


def _write_csv(file: TextIO, rows: Iterator[Line]) -> None:
    table = csv.writer(file)
    table.writerow(("photo", "state", "folder", "face", *MEASURES, "reason"))
    for line in rows:
        numbers = [_number(line.measures.get(name)) for name in MEASURES]
        face = "" if line.face is None else line.face
        table.writerow([_cell(line.photo), line.state, _cell(line.folder), face, *numbers, _cell(line.reason)])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _cell(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    text = printable(text)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _write_html(file: TextIO, manifest: Database) -> None:
    found = counts(manifest)
    said = ", ".join(f"{found[state]:,} {state}" for state in ("done", "failed", "pending") if found.get(state))
    total = line_count(manifest)
    shown = min(total, MOST_SHOWN)
    rest = f" The {shown:,} hardest of {total:,} are shown; {CSV_FILE} has all." if total > shown else ""
    head = "".join(f'<th scope="col">{TITLES[name]}</th>' for name in MEASURES)
    file.write(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Inverted photos</title>'
        f"<style>{STYLE}</style></head>\n<body><h1>Inverted photos</h1>\n<p>{said or 'no photos yet'}.{rest}</p>\n"
        f'<table><thead><tr><th scope="col">Face and result</th><th scope="col">Photo</th>{head}'
        f'<th scope="col">State</th></tr></thead><tbody>\n'
    )
    for line in lines(manifest, shown):
        file.write(_row(line))
    file.write("</tbody></table></body></html>\n")


def _row(line: Line) -> str:
    picture = ""
    if line.thumbnail:
        data = base64.b64encode(line.thumbnail).decode()
        picture = f'<img src="data:image/jpeg;base64,{data}" alt="the aligned face, and the result">'
    name = html.escape(printable(Path(line.photo).name))
    if line.folder:
        target = quote(line.folder.encode("utf-8", "surrogateescape"))
        name = f'<a href="{target}/">{name}</a>'
    numbers = "".join(f'<td class="number">{_shown(line.measures.get(name), name)}</td>' for name in MEASURES)
    reason = f": {html.escape(printable(line.reason))}" if line.reason else ""
    title = html.escape(printable(line.photo), quote=True)
    state = f'<td class="{line.state}">{line.state}{reason}</td>'
    return f'<tr><td>{picture}</td><td title="{title}">{name}</td>{numbers}{state}</tr>\n'


def _shown(value: float | None, measure: str) -> str:
    return "" if value is None else f"{value:.{DIGITS.get(measure, 3)}f}"
