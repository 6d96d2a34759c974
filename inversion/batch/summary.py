"""report.csv and report.html of a batch, made from its manifest: the hardest photos first."""

from __future__ import annotations

import base64
import csv
import html
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from inversion.batch.database import MEASURES, Database
from inversion.batch.overview import Line, counts, line_count, lines
from relatent.core.errors import NoSpaceError, OutputError
from relatent.core.files import atomic_file, sha256_of
from relatent.core.results import MANIFEST_FILE, SUMMARY_FILES
from relatent.core.wording import printable

CSV_FILE, HTML_FILE = SUMMARY_FILES
MOST_SHOWN = 2000  # rows of report.html; browsers get slow with more, and report.csv has all
COLUMNS = ("photo", "state", "folder", "face", *MEASURES, "reason")
HTML_HEAD = '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Inverted photos</title>'
HEADS = (",".join(COLUMNS).encode(), HTML_HEAD.encode())
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


def require_summary_room(outdir: Path) -> None:
    """Check, before any work is done, that :func:`summarise` would replace no file of somebody else.

    Raises:
        OutputError: report.csv or report.html exists and is not as Relatent wrote it.
    """
    sums = {}
    if (outdir / MANIFEST_FILE).is_file():
        manifest = Database(outdir, read_only=True)
        try:
            if manifest.rows("SELECT 1 FROM sqlite_master WHERE name = 'summaries'"):
                sums = _known_sums(manifest)
        finally:
            manifest.close()
    for name in SUMMARY_FILES:
        _require_own(outdir / name, sums.get(name))


def summarise(outdir: Path) -> None:
    """:func:`write_summary` of a folder, if it has a manifest; a full disk has been told and is no further error."""
    if (outdir / MANIFEST_FILE).is_file():
        with suppress(NoSpaceError):
            manifest = Database(outdir)
            try:
                write_summary(manifest)
            finally:
                manifest.close()


def write_summary(manifest: Database) -> None:
    """Write OUT/report.csv and OUT/report.html, and their sums to the manifest.

    Raises:
        OutputError: they cannot be written, or are not as Relatent wrote them.
    """
    known = _known_sums(manifest)
    _replace(manifest, CSV_FILE, known, lambda file: _write_csv(file, lines(manifest)))
    _replace(manifest, HTML_FILE, known, lambda file: _write_html(file, manifest))


def _replace(manifest: Database, name: str, known: dict[str, str], write: Callable[[TextIO], None]) -> None:
    whole = manifest.outdir / name
    _require_own(whole, known.get(name))
    with atomic_file(whole) as path:
        with path.open("w", newline="", encoding="utf-8") as file:
            write(file)
        with manifest.transaction() as database:  # before the file is moved: a kill in between leaves the old one,
            sums = [*known.get(name, "").split(), sha256_of(path)]  # whose sum is kept for that
            database.execute("INSERT OR REPLACE INTO summaries VALUES (?, ?)", (name, " ".join(sums[-2:])))


def _known_sums(manifest: Database) -> dict[str, str]:
    """The sha256 sums of the last two summaries that Relatent wrote, separated by a space, by file name."""
    return {str(name): str(sums) for name, sums in manifest.rows("SELECT name, sha256 FROM summaries")}


def _require_own(path: Path, known: str | None) -> None:
    if not path.exists() and not path.is_symlink():
        return
    with suppress(OSError):
        if known and sha256_of(path) in known.split():
            return
        if not known and path.read_bytes()[:200].startswith(HEADS):  # an earlier version stored no sums
            return
    raise OutputError(
        f"{path} is not a file that Relatent wrote, or was changed since. "
        "Move or rename it, or choose another --outdir."
    )


def _write_csv(file: TextIO, rows: Iterator[Line]) -> None:
    table = csv.writer(file)
    table.writerow(COLUMNS)
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
        f"{HTML_HEAD}<style>{STYLE}</style></head>\n<body><h1>Inverted photos</h1>\n"
        f"<p>{said or 'no photos yet'}.{rest}</p>\n"
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
