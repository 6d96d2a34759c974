"""Recognises results of Relatent on disk, and the files in a folder that Relatent wrote.

``report.json`` marks a result folder. Its key ``files`` names every file that Relatent wrote there, with its
sha256. Only these files are ever replaced or deleted; all others belong to somebody else. While a folder is being
written, a claim (relatent/core/claims.py) has the same list. Reports of earlier versions have none; the names of the
files that those versions wrote are used instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from relatent.core.errors import UsageError
from relatent.core.files import sha256_of

REPORT_FILE = "report.json"
CLAIM_FILE = ".relatent-claim"
SCRATCH_FOLDER = ".relatent-new"
MANIFEST_FILE = "manifest.sqlite"
SUMMARY_FILES = ("report.csv", "report.html")
BATCH_FILES = frozenset(  # beside the folders of results
    (MANIFEST_FILE, *(f"{MANIFEST_FILE}-{side}" for side in ("wal", "shm", "journal")), *SUMMARY_FILES, CLAIM_FILE)
)
INVERSION_FILE = "inversion.safetensors"
INVERSION_FILES = ("target.png", "proj.png", "projected_w.npz", INVERSION_FILE, "proj.mp4")
EDIT_FILES = ("edited.png", "drawn.png", "pasted.png", "edited.safetensors", "sweep.png")
MARK = re.compile(
    rb"Relatent [^;\0]{1,40}; network "  # relatent.core.provenance.software_tag
    rb'|"format": ?"relatent-'  # the header of every safetensors file, and every JSON file
)
HEAD, TAIL = 2**18, 2**16  # bytes; EXIF and XMP are near the beginning of a file or, in WebP, at its end
ZIP, ZIP_END = b"PK", b"PK\x05\x06"  # how a zip begins, and the record at its end that its comment is in

OwnFiles = dict[str, frozenset[str]]  # accepted sha256 sums by file name; empty for a file known by name only


def read_json(path: Path) -> dict[str, object] | None:
    """The JSON object in a file; None if the file is missing or has no readable one."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def read_report(folder: Path) -> dict[str, object] | None:
    """The report of a result folder; None if it is missing or not written by Relatent."""
    report = read_json(folder / REPORT_FILE)
    ours = report is not None and (isinstance(report.get("photo"), dict) or "files" in report or "versions" in report)
    return report if ours else None


def read_claim(folder: Path) -> dict[str, object] | None:
    """The content of a folder's claim, held or left behind by a killed process; None if there is none."""
    return read_json(folder / CLAIM_FILE)


def finished_report(folder: Path) -> dict[str, object] | None:
    """The report of a complete inversion; None if there is none, or if writing it was interrupted."""
    writing = (read_claim(folder) or {}).get("writing")
    cut_off = isinstance(writing, list) and not set(INVERSION_FILES).isdisjoint(writing)
    return None if cut_off else read_report(folder)


def is_free(folder: Path) -> bool:
    """Whether ``folder`` is missing or empty."""
    if not folder.is_dir():
        return not folder.exists() and not folder.is_symlink()
    try:
        others = {path.name for path in folder.iterdir()} - {CLAIM_FILE, SCRATCH_FOLDER}
    except OSError:
        return False
    return not others and read_claim(folder) is None


def own_files(folder: Path) -> OwnFiles:
    """The files in a folder that Relatent wrote."""
    report, claim = read_report(folder), read_claim(folder) or {}
    own = _listed(claim.get("files"))
    if report is None:
        return own
    own[REPORT_FILE] = frozenset()
    listed = _listed(report["files"]) if "files" in report else _of_earlier_version(folder, report)
    for name, sums in listed.items():
        own[name] = sums | own[name] if name in own else sums
    return own


def is_own(path: Path, own: OwnFiles) -> bool:
    """Whether a file is unchanged since Relatent wrote it; ``own`` is the result of :func:`own_files`."""
    sums = own.get(path.name)
    if sums is None or not path.is_file():
        return False
    try:
        return not sums or sha256_of(path) in sums
    except OSError:
        return False


def has_mark(path: Path) -> bool:
    """Whether a picture, video, safetensors or JSON file, or a zip by its comment, says that Relatent made it."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            file.seek(max(0, path.stat().st_size - TAIL))
            tail = file.read(TAIL)
            if head.startswith(ZIP):  # somebody else's may hold pictures that Relatent made
                head, tail = b"", tail[tail.rfind(ZIP_END) :]
            return MARK.search(head) is not None or MARK.search(tail) is not None
    except OSError:
        return False


def require_replaceable(paths: Iterable[Path], option: str = "--out") -> None:
    """Check, before any work is done, that files of these names may be written: they are missing, or Relatent's own.

    Raises:
        UsageError: one exists and does not say that Relatent made it; ``option`` is named as the way out.
    """
    for path in paths:
        if path.is_file() and path.stat().st_size and not has_mark(path):
            raise UsageError(
                f"{path} exists, and does not say that Relatent made it. Move it, or choose another {option}."
            )


def without_results(photos: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Split files found in folders into photos and earlier results of Relatent."""
    kept: list[Path] = []
    results: list[Path] = []
    own: dict[Path, OwnFiles] = {}
    for path in photos:
        if path.parent not in own:
            own[path.parent] = own_files(path.parent)
        (results if is_own(path, own[path.parent]) or has_mark(path) else kept).append(path)
    return kept, results


def _listed(files: object) -> OwnFiles:
    """``files`` of a report or claim: by name a sha256 or several."""
    if not isinstance(files, dict):
        return {}
    return {
        str(name): frozenset([sums] if isinstance(sums, str) else map(str, sums if isinstance(sums, list) else []))
        for name, sums in files.items()
    }


def _of_earlier_version(folder: Path, report: dict[str, object]) -> OwnFiles:
    names = list(INVERSION_FILES) if isinstance(report.get("photo"), dict) else []
    if "edit" in report or "mix" in report:
        names += EDIT_FILES
    if "grid" in report:
        names += [path.name for path in folder.glob("*.png") if has_mark(path)]
    return dict.fromkeys(names, frozenset())
