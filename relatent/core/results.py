"""What a result of Relatent is on disk, and which files in a folder are Relatent's own.

``report.json`` is the mark of a result folder. Its key ``files`` names every file that Relatent wrote there, with its
sha256. Only these are ever replaced or deleted; whatever else lies in the folder is somebody else's. While a folder is
being written, a claim (relatent/core/claims.py) says the same. Folders of earlier versions have no list; there the
names that those versions wrote stand for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from relatent.core.files import sha256_of

REPORT_FILE = "report.json"
CLAIM_FILE = ".relatent-claim"
SCRATCH_FOLDER = ".relatent-new"
INVERSION_FILES = ("target.png", "proj.png", "projected_w.npz", "inversion.safetensors", "proj.mp4")
EDIT_FILES = ("edited.png", "drawn.png", "pasted.png", "edited.safetensors", "sweep.png")
MARK = re.compile(rb"Relatent [^;\0]{1,40}; network ")  # relatent.core.provenance.software_tag
HEAD, TAIL = 2**18, 2**16  # bytes; EXIF and XMP lie near a file's beginning or, in WebP, at its end

OwnFiles = dict[str, frozenset[str]]  # sha256 sums a file may have by its name; none for a file known by name alone


def read_json(path: Path) -> dict[str, object] | None:
    """The JSON object in a file, or None if there is none that can be read."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def read_report(folder: Path) -> dict[str, object] | None:
    """The report of a result folder; None if there is none, or if it is not one of Relatent's."""
    report = read_json(folder / REPORT_FILE)
    ours = report is not None and (isinstance(report.get("photo"), dict) or "files" in report or "versions" in report)
    return report if ours else None


def read_claim(folder: Path) -> dict[str, object] | None:
    """What the claim on a folder says, held or left behind by a process that was killed; None if there is none."""
    return read_json(folder / CLAIM_FILE)


def finished_report(folder: Path) -> dict[str, object] | None:
    """The report of an inversion that is whole; None where there is none, or where its writing was cut off."""
    writing = (read_claim(folder) or {}).get("writing")
    cut_off = isinstance(writing, list) and not set(INVERSION_FILES).isdisjoint(writing)
    return None if cut_off else read_report(folder)


def is_free(folder: Path) -> bool:
    """Whether nobody's result and nobody's file is at ``folder``: it is missing, or empty."""
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
    """Whether a file is what Relatent wrote under its name, unchanged since; ``own`` as :func:`own_files` gives it."""
    sums = own.get(path.name)
    if sums is None or not path.is_file():
        return False
    try:
        return not sums or sha256_of(path) in sums
    except OSError:
        return False


def has_mark(path: Path) -> bool:
    """Whether a picture or video says of itself that Relatent made it."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            file.seek(max(0, path.stat().st_size - TAIL))
            return MARK.search(head) is not None or MARK.search(file.read(TAIL)) is not None
    except OSError:
        return False


def without_results(photos: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Files in folders, parted into photos and what Relatent made of photos before."""
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
