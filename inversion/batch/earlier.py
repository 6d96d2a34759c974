"""Takes the results of versions without a manifest into a new one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from inversion.batch.database import DONE
from inversion.batch.manifest import FaceRow, Manifest
from inversion.batch.report import measures_of
from relatent.core.results import finished_report

SETTINGS = ("network", "preset", "seed", "settings")


def import_results(manifest: Manifest) -> None:
    """Record the results that lie in the folders of OUT."""
    for folder, report in _results_in(manifest.outdir):
        photo = report["photo"]
        assert isinstance(photo, dict)
        sha256, face = str(photo["sha256"]), int(photo["face"])
        number = manifest.settings_number({name: report[name] for name in SETTINGS if name in report})
        row = FaceRow(sha256, face, folder.name, number, measures=measures_of(report), note=str(report.get("note", "")))
        manifest.begin_face(row, Path(str(photo.get("name", folder.name))).stem)
        manifest.end_face(sha256, face)
        # Versions before the list of files counted the faces that were inverted, not those that were found.
        found = photo.get("faces") if "files" in report else None
        file = photo.get("file")
        if file:
            known = manifest.known_photo(Path(str(file)))
            manifest.set_photo(known, DONE, sha256=sha256, faces=found if isinstance(found, int) else None)


def _results_in(outdir: Path) -> Iterator[tuple[Path, dict[str, object]]]:
    """The folders of complete inversions, with their reports."""
    for folder in sorted(path for path in outdir.iterdir() if path.is_dir()):
        report = finished_report(folder) or {}
        photo = report.get("photo")
        if isinstance(photo, dict) and isinstance(photo.get("sha256"), str) and isinstance(photo.get("face"), int):
            yield folder, report
