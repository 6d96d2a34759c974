"""Opens the manifest of OUT for a run, after settling what a killed one has left half done."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from inversion.batch.database import DONE, PENDING
from inversion.batch.earlier import import_results
from inversion.batch.manifest import Manifest
from inversion.batch.report import measures_of
from relatent.core.claims import Claim, finish_left, take
from relatent.core.errors import OutputError
from relatent.core.files import output_errors
from relatent.core.results import INVERSION_FILE, finished_report, read_report

TRIES, PAUSE = 50, 0.1  # seconds; workers end at once when their parent has


@contextmanager
def opened_manifest(outdir: Path) -> Iterator[Manifest]:
    """The manifest of OUT, which only this process writes to until the end of the block.

    What a killed run has left half done is completed or removed first.

    Raises:
        OutputError: OUT cannot be written, or another run is writing to it.
    """
    with output_errors(outdir):
        outdir.mkdir(parents=True, exist_ok=True)
    claim = _claim_whole(outdir)
    try:
        manifest = Manifest(outdir)
        try:
            if manifest.new:
                import_results(manifest)
            _recover(manifest)
            yield manifest
        finally:
            manifest.close()
    finally:
        claim.release()


def _claim_whole(outdir: Path) -> Claim:
    try:
        claim = take(outdir, {"batch": True})
    except OutputError as error:
        if "being written" not in str(error):
            raise
        claim = None
    if claim is None:
        raise OutputError(
            f"another run is writing to {outdir}. Wait for it (python -m inversion status {outdir} tells how far "
            "it is), or choose another --outdir."
        )
    return claim


def _recover(manifest: Manifest) -> None:
    """Settle the results that were being moved into place when a run was killed."""
    for row in manifest.unfinished_faces():
        folder = manifest.outdir / row.folder
        _settle(folder)
        report = finished_report(folder) or {}
        photo = report.get("photo")
        same = isinstance(photo, dict) and (photo.get("sha256"), photo.get("face")) == (row.sha256, row.face)
        # Else it is the result that was to be replaced.
        complete = same and _without_time(measures_of(report)) == _without_time(row.measures)
        if complete and (folder / INVERSION_FILE).is_file():
            manifest.end_face(row.sha256, row.face)
        else:
            manifest.forget_face(row.sha256, row.face)
    for number, place, mark in manifest.unfinished_edits():
        _settle(manifest.outdir / place)
        edit = (read_report(manifest.outdir / place) or {}).get("edit")
        complete = isinstance(edit, dict) and edit.get("key") == mark
        manifest.set_edit(number, DONE if complete else PENDING)


def _without_time(measures: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in measures.items() if name != "seconds"}


def _settle(folder: Path) -> None:
    """Complete or remove what was left half, when the worker that may still be writing it has ended."""
    for _ in range(TRIES):
        try:
            finish_left(folder)
            return
        except OutputError:
            time.sleep(PAUSE)
    finish_left(folder)
