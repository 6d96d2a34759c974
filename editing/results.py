"""Finds inversions on disk and their photos, and writes the results of edits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from inversion import Inversion
from inversion.batch.jobs import open_job
from inversion.batch.report import REPORT_FILE, read_report, versions
from inversion.foreign_latents import LATENT_FILE
from relatent.core.errors import CheckpointError, PhotoError, RelatentError, UsageError
from relatent.core.files import output_errors, write_bytes
from relatent.core.folders import look_through
from relatent.core.provenance import MarkedImage
from stylegan import Generator

INVERSION_FILE = "inversion.safetensors"
EDITED_FILE = "edited.safetensors"
OWN_FOLDER = (INVERSION_FILE, EDITED_FILE, LATENT_FILE)  # files that lie in a folder of their own, called after it


@dataclass(frozen=True)
class Saved:
    """An inversion on disk.

    Attributes:
        path: its file.
        inversion: what it holds.
        stem: what its results are called: the folder's name, or the file's own.
        foreign: whether the file is of another tool, so that no report beside it is about this face.
    """

    path: Path
    inversion: Inversion
    stem: str
    foreign: bool = False

    @property
    def report(self) -> dict[str, object]:
        """The report beside it; empty if there is none."""
        return {} if self.foreign else read_report(self.path.parent) or {}


def find_saved(inputs: Iterable[Path]) -> list[Saved | RelatentError]:
    """Open inversions given by file, by their folder, or by a folder of such folders; errors are returned in place."""
    found: dict[Path, None] = {}
    errors: list[Saved | RelatentError] = []
    for path in inputs:
        try:
            found |= dict.fromkeys(saved_in(path) if path.is_dir() else [path])
        except RelatentError as error:
            errors.append(error)
    return [*(_opened(path) for path in found), *errors]


def saved_in(folder: Path) -> list[Path]:
    """The inversion in a folder, else the edited face in it, else those of the folders in it, else its latents.

    Raises:
        CheckpointError: there is none of these.
    """
    own = _file_in(folder, INVERSION_FILE, EDITED_FILE)
    if own is not None:
        return [own]
    below = [_file_in(one, INVERSION_FILE, EDITED_FILE) for one in sorted(folder.iterdir()) if one.is_dir()]
    found = [path for path in below if path is not None]
    latents = _file_in(folder, LATENT_FILE)
    if found or latents is not None:
        return found or [latents]  # type: ignore[list-item]
    if look_through(folder).photos:
        raise CheckpointError(
            f"{folder} holds pictures and no {INVERSION_FILE}. Invert them first: python -m inversion.project {folder}"
        )
    raise CheckpointError(f"{folder} holds no {INVERSION_FILE}. Invert a photo first, or check it.")


def _file_in(folder: Path, *names: str) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _opened(path: Path) -> Saved | RelatentError:
    try:
        return open_saved(path)
    except RelatentError as error:
        return error


def open_saved(path: Path) -> Saved:
    """An inversion's file; raises CheckpointError where it is none."""
    return Saved(path, Inversion.load(path), stem_of(path))


def stem_of(path: Path) -> str:
    """What the results of a file are called."""
    return path.absolute().parent.name if path.name in OWN_FOLDER else path.stem


def result_folder(saved: Saved, outdir: Path | None) -> Path:
    """The folder for the results of an edit: OUTDIR/STEM, or without ``outdir`` the inversion's own folder.

    Raises:
        UsageError: the result would overwrite the file that is being edited.
    """
    if outdir is not None:
        folder = outdir / saved.stem
    elif saved.path.name in OWN_FOLDER:
        folder = saved.path.parent
    else:
        folder = saved.path.parent / saved.stem
    if (folder / EDITED_FILE).absolute() == saved.path.absolute():
        raise UsageError(f"the result would replace {saved.path}, which is being edited. Choose another --outdir.")
    return folder


def find_photo(saved: Saved, named: Sequence[Path] = (), *, alone: bool = False) -> Path | None:
    """The photo of an inversion, recognised by its hash; None if it is not found.

    Args:
        saved: the inversion.
        named: photos, or folders of photos, to search first.
        alone: it is the only inversion, so a single photo in ``named`` is used regardless of its hash.

    Raises:
        PhotoError: a path in ``named`` does not exist.
    """
    for path in named:
        if not path.exists():
            raise PhotoError(f"the photo {path} does not exist. Check the path.")
    if alone and len(named) == 1 and named[0].is_file():
        return named[0]
    name, known = saved.inversion.photo, made_from(saved)
    files = [path / name if path.is_dir() else path for path in named]
    if known.get("sha256"):
        files += [Path(str(known.get("file", ""))), Path(name), saved.path.parent / name]
    return next((file for file in files if name and file.is_file() and is_photo_of(saved, file)), None)


def is_photo_of(saved: Saved, file: Path) -> bool:
    """Whether a file has the hash of the inverted photo, or the same name if the hash is not known."""
    digest = made_from(saved).get("sha256")
    if not digest:
        return file.name == saved.inversion.photo
    try:
        return open_job(file).digest == digest
    except PhotoError:
        return False


def made_from(saved: Saved) -> dict[str, object]:
    """The entry of the photo in the report beside an inversion or edited inversion: name, file, sha256, face."""
    report = saved.report
    edits = [report[key] for key in ("edit", "mix") if isinstance(report.get(key), dict)]
    for photo in (report.get("photo"), *(edit.get("made_from") for edit in edits)):  # type: ignore[attr-defined]
        if isinstance(photo, dict):
            return photo
    return {}


def write_edited(
    folder: Path,
    edited: Inversion,
    network: Generator,
    *,
    key: str,  # "edit" or "mix"
    account: dict[str, object],  # stored below ``key`` in report.json
    face: MarkedImage | None = None,  # the face at the photo's resolution; None for the network's drawing
    pasted: MarkedImage | None = None,  # the whole photo
    metadata: bool = True,  # write provenance (relatent.core.provenance)
) -> None:
    """Write edited.png, drawn.png, pasted.png if there is one, edited.safetensors and report.json, each atomically.

    An existing report.json of the inversion is kept and extended by ``key``.

    Raises:
        OutputError: the folder cannot be written.
    """
    edited.save(folder / EDITED_FILE)
    drawn = edited.image(network).encoded(metadata=metadata)
    write_bytes(folder / "drawn.png", drawn)
    write_bytes(folder / "edited.png", drawn if face is None else face.encoded(metadata=metadata))
    if pasted is not None:
        write_bytes(folder / "pasted.png", pasted.encoded(metadata=metadata))
    else:
        with output_errors(folder):  # pasted.png of an earlier edit would not belong to this one
            (folder / "pasted.png").unlink(missing_ok=True)
    write_report(folder, edited, key, {**account, "edits": edited.edits})


def write_report(folder: Path, edited: Inversion, key: str, account: dict[str, object]) -> None:
    """Store ``account`` below ``key`` in the report.json of a folder, which is created if needed."""
    report = read_report(folder) or {"network": edited.network, "versions": versions()}
    write_bytes(folder / REPORT_FILE, (json.dumps({**report, key: account}, indent=2) + "\n").encode())
