"""Makes a face set: photos to one zip of aligned faces, in several processes.

While it is being made, what is known of each photo is in a folder beside the zip, OUT.parts, from which an interrupted
run goes on. At the end the zip and a report are written and the folder is removed.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from relatent.core.errors import DatasetError, OutputError
from relatent.core.files import atomic_file, output_errors, sha256_of, write_bytes
from relatent.core.folders import FolderContents, look_through
from relatent.core.results import read_json, require_replaceable
from relatent.core.stopping import end_with_parent
from relatent.core.wording import printable
from relatent.face.dataset.duplicates import duplicates
from relatent.face.dataset.options import HASH_BITS, FaceSetOptions
from relatent.face.dataset.photos import PhotoResult, examine

STAMP = (1980, 1, 1, 0, 0, 0)  # of all members, so that the same faces make the same file
SETTINGS_FILE = "options.json"
RECORD_FILE = "result.json"  # of a photo: its faces and why others were left out
FORMAT = "relatent-faces-1"  # of the zip, which says so in its comment, of the report and of the folder of parts
PART = re.compile(r"[0-9a-f]{64}|unreadable-.*", re.DOTALL)  # names of what is known of each photo


@dataclass(frozen=True)
class FaceSet:
    """What became of all photos.

    Attributes:
        photos: how many there were.
        faces: names of the faces in the zip.
        rejected: for each photo with a face left out, by its path below the folder: why.
        passed_over: names of files that are no pictures.
    """

    photos: int
    faces: list[str]
    rejected: dict[str, list[str]]
    passed_over: list[str]

    def to_json(self, options: FaceSetOptions) -> str:
        """The report: options, counts, and every rejection with its reason."""
        counts = {"photos": self.photos, "faces": len(self.faces), "photos with rejections": len(self.rejected)}
        rest = {"rejected": self.rejected, "passed over": self.passed_over}
        return json.dumps({"format": FORMAT, "options": options.to_dict(), **counts, **rest}, indent=2)


def make_face_set(
    folder: Path,
    out: Path,
    options: FaceSetOptions,
    *,
    processes: int = 1,
    dry_run: bool = False,
    on_photo: Callable[[int, int], object] | None = None,
) -> FaceSet:
    """Align the faces of all photos below ``folder`` into the zip ``out``, with a report beside it.

    A face of ``a/b.jpg`` is called ``a/b.jpg.png``, so that folders remain the classes they may be; further faces of
    one photo are numbered.

    Args:
        folder: of photos.
        out: the zip file.
        options: how.
        processes: that read photos at the same time.
        dry_run: find out what would become of the photos, and write nothing.
        on_photo: called with the numbers of photos done and to do.

    Raises:
        DatasetError: there is no photo, or none with a face that fits.
        UsageError: the zip or the report is there and is a file of somebody else.
        OutputError: results cannot be written.
    """
    _require_room(out)
    parts = out.with_name(out.name + ".parts")
    contents = look_through(folder, without=(out, report_path(out), parts))  # OUT may lie below the photos
    if not contents.photos:
        raise DatasetError(f"{folder} holds no photos; expected a folder with files such as .jpg, .png or .webp.")
    if dry_run:
        with TemporaryDirectory() as scratch:
            return _made(folder, contents, Path(scratch), None, options, processes, on_photo)
    new = [path for path in out.parents if not path.exists()]
    with output_errors(parts):
        _open_parts(parts, options)
    try:
        made = _made(folder, contents, parts, out, options, processes, on_photo)
    except DatasetError:  # the run has ended, and there is nothing to go on with
        _remove_parts(parts)
        with suppress(OSError):  # not empty: somebody else has written there meanwhile
            for path in new:
                path.rmdir()
        raise
    write_bytes(report_path(out), (made.to_json(options) + "\n").encode())
    _remove_parts(parts)
    return made


def report_path(out: Path) -> Path:
    """Where the report of the face set ``out`` lies."""
    return out.with_suffix(".report.json")


def _require_room(out: Path) -> None:
    """Check, before hours of work, that the zip and the report may be written."""
    for path_of, what in ((Path, "a zip file"), (report_path, "the report")):  # . and / have no report
        path = path_of(out)
        with output_errors(path):  # a name may be too long to be looked for
            if path.is_dir():
                raise OutputError(f"{path} is a folder; expected the name of {what}. Choose another OUT.")
            require_replaceable([path], "OUT")


def _open_parts(parts: Path, options: FaceSetOptions) -> None:
    """Make the folder of parts; what was made with other options is removed."""
    settings = {"format": FORMAT, "options": options.to_dict()}
    found = read_json(parts / SETTINGS_FILE)
    if found == settings:
        return
    if found is not None and found.get("format") == FORMAT:
        _remove_parts(parts)
    if parts.exists() and any(parts.iterdir()):
        raise OutputError(f"{parts} is there and is not of an earlier run. Remove it or choose another name.")
    parts.mkdir(parents=True, exist_ok=True)
    write_bytes(parts / SETTINGS_FILE, json.dumps(settings).encode())


def _remove_parts(parts: Path) -> None:
    """Remove the folder of parts, but nothing that somebody else has put there."""
    with suppress(OSError):
        for entry in parts.iterdir():
            if PART.fullmatch(entry.name):
                shutil.rmtree(entry, ignore_errors=True)
        (parts / SETTINGS_FILE).unlink(missing_ok=True)  # last: it says that the rest is ours
        parts.rmdir()


def _made(
    folder: Path,
    contents: FolderContents,
    parts: Path,
    out: Path | None,
    options: FaceSetOptions,
    processes: int,
    on_photo: Callable[[int, int], object] | None,
) -> FaceSet:
    found: list[tuple[str, Path, dict[str, Any]]] = []  # name of the face, its part, its record
    rejected: dict[str, list[str]] = {}
    for done, (photo, part) in enumerate(_examined(contents.photos, parts, options, processes), 1):
        name = printable(photo.relative_to(folder).as_posix())
        record = _record(part) or {"faces": [], "rejected": ["what was known of it has been lost."]}
        if record["rejected"]:
            rejected[name] = record["rejected"]
        for number, face in enumerate(record["faces"]):
            found.append((f"{name}{f'-{number + 1}' if number else ''}.png", part / f"{number}.png", face))
        if on_photo:
            on_photo(done, len(contents.photos))
    found.sort(key=lambda face: face[0])
    repeated = duplicates([face["hash"] for *_, face in found], [f["side"] for *_, f in found], options.most_alike)
    for left_out, kept in repeated.items():
        name = found[left_out][0].removesuffix(".png")
        rejected.setdefault(name, []).append(f"it looks like {found[kept][0].removesuffix('.png')}, which is kept.")
    chosen = [face for index, face in enumerate(found) if index not in repeated]
    if not chosen:
        reasons = "; ".join(f"{name}: {why[0]}" for name, why in list(rejected.items())[:3])
        raise DatasetError(f"no photo in {folder} has a face that fits. The first reasons: {reasons}")
    if out is not None:
        _write_zip(out, [(name, part) for name, part, _ in chosen])
    others = [printable(file.relative_to(folder).as_posix()) for file in contents.others]
    return FaceSet(len(contents.photos), [name for name, *_ in chosen], dict(sorted(rejected.items())), others)


def _write_zip(out: Path, faces: list[tuple[str, Path]]) -> None:
    with atomic_file(out) as temporary, zipfile.ZipFile(temporary, "w") as file:  # PNG is compressed already
        file.comment = json.dumps({"format": FORMAT}).encode()
        for name, part in faces:
            file.writestr(zipfile.ZipInfo(name, STAMP), part.read_bytes())


def _examined(photos: list[Path], parts: Path, options: FaceSetOptions, processes: int) -> Iterator[tuple[Path, Path]]:
    """Each photo with the folder that holds its result, as results arrive; what is there already is not made again."""
    waiting: list[tuple[Path, Path]] = []
    for photo in photos:
        try:
            part = parts / sha256_of(photo)
        except OSError as error:
            part = parts / f"unreadable-{len(waiting)}-{photo.name[:40]}"
            _keep(part, PhotoResult(rejected=(f"it cannot be read: {error.strerror}.",)))
        if _record(part) is not None:
            yield photo, part
        else:
            waiting.append((photo, part))
    for photo, part, result in results(waiting, options, processes):
        _keep(part, result)
        yield photo, part


def _keep(part: Path, result: PhotoResult) -> None:
    """Write a photo's result; the record comes last and says that the rest is whole."""
    for number, face in enumerate(result.faces):
        write_bytes(part / f"{number}.png", face.png)
    faces = [{"side": round(face.side, 2), "hash": face.hash} for face in result.faces]
    write_bytes(part / RECORD_FILE, json.dumps({"faces": faces, "rejected": result.rejected}).encode())


def _record(part: Path) -> dict[str, Any] | None:
    """What is known of a photo; None if it is missing or damaged, so that the photo is examined again."""
    record: dict[str, Any] = read_json(part / RECORD_FILE) or {}
    try:
        hashes = [bytes.fromhex(face["hash"]) for face in record["faces"] if float(face["side"]) > 0]
        reasons = [str(why) for why in record["rejected"]]
    except (LookupError, TypeError, ValueError, OverflowError):
        return None
    whole = len(hashes) == len(record["faces"]) and all((part / f"{k}.png").is_file() for k in range(len(hashes)))
    right = all(len(one) * 8 == HASH_BITS for one in hashes) and reasons == record["rejected"]
    return record if whole and right else None


def results(
    waiting: list[tuple[Path, Path]],
    options: FaceSetOptions,
    processes: int,
    work: Callable[[Path, FaceSetOptions], PhotoResult] = examine,
) -> Iterator[tuple[Path, Path, PhotoResult]]:
    """Results of photos in the order in which they are ready.

    When a process dies, those that were being read are read again one by one, so that only the photo to blame fails.

    Args:
        waiting: photos, each with its folder of parts.
        options: of the set.
        processes: 1 to read in this process.
        work: what is done with each photo.
    """
    if processes == 1:
        for photo, part in waiting:
            yield photo, part, work(photo, options)
        return
    left, suspects = waiting[::-1], list[tuple[Path, Path]]()
    while left or suspects:
        alone = bool(suspects)
        source, most = (suspects, 1) if alone else (left, 2 * processes)
        running: dict[Future[PhotoResult], tuple[Path, Path]] = {}
        pool = ProcessPoolExecutor(1 if alone else processes, get_context("spawn"), _in_a_process)
        try:
            while source or running:
                while source and len(running) < most:
                    running[pool.submit(work, source[-1][0], options)] = source[-1]
                    source.pop()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    result = future.result()  # before it is taken out: a dead process leaves it among the suspects
                    yield *running.pop(future), result
        except BrokenProcessPool:
            if alone:
                ((photo, part),) = running.values()
                yield photo, part, PhotoResult(rejected=("reading it ended the process that did it.",))
            else:
                suspects += running.values()
        finally:
            pool.shutdown(cancel_futures=True)


def _in_a_process() -> None:
    """What a process that reads photos does first."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets Ctrl-C, and tidies up
    end_with_parent()
    cv2.setNumThreads(1)  # as many processes as processors are faster than many threads
