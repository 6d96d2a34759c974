"""Finds inversions on disk and their photos, and writes the results of edits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from torch import Tensor

from inversion import Inversion
from inversion.batch.jobs import open_job
from inversion.batch.report import versions
from inversion.foreign_latents import LATENT_FILE
from relatent.core.claims import Claim, Owner, take, take_first
from relatent.core.errors import CheckpointError, OutputError, PhotoError, RelatentError, UsageError
from relatent.core.folders import look_through
from relatent.core.provenance import MarkedImage
from relatent.core.results import read_report
from stylegan import Generator

INVERSION_FILE = "inversion.safetensors"
EDITED_FILE = "edited.safetensors"
OWN_FOLDER = (INVERSION_FILE, EDITED_FILE, LATENT_FILE)  # files named after the folder they are in
EDITED_PICTURE, DRAWN_FILE, PASTED_FILE = "edited.png", "drawn.png", "pasted.png"
WRITTEN = (EDITED_PICTURE, DRAWN_FILE, EDITED_FILE)  # by every edit


@dataclass(frozen=True)
class Saved:
    """An inversion on disk.

    Attributes:
        path: its file.
        inversion: its content.
        stem: used in names of results: the name of its folder, or that of the file.
        foreign: whether another tool wrote the file; a report beside it is then not about this face.
    """

    path: Path
    inversion: Inversion
    stem: str
    foreign: bool = False

    def open(self) -> Saved:
        """Itself; see :class:`SavedFile`."""
        return self

    @property
    def report(self) -> dict[str, object]:
        """The report beside it; empty if there is none."""
        return {} if self.foreign else read_report(self.path.parent) or {}


@dataclass(frozen=True)
class SavedFile:
    """An inversion on disk that is yet to be read.

    Attributes:
        path: its file.
        stem: used in names of results; empty for the name of its folder, or that of the file.
    """

    path: Path
    stem: str = ""

    def open(self) -> Saved:
        """Read it; raises CheckpointError if it is none."""
        saved = open_saved(self.path)
        return dataclasses.replace(saved, stem=self.stem) if self.stem else saved

    @property
    def report(self) -> dict[str, object]:
        """The report beside it; empty if there is none."""
        return read_report(self.path.parent) or {}


def find_saved(inputs: Iterable[Path]) -> list[Saved | RelatentError]:
    """Open inversions given by file, by their folder, or by a folder of such folders; errors are returned in place."""
    found: dict[Path, Path] = {}
    errors: list[Saved | RelatentError] = []
    for path in inputs:
        try:
            for file in saved_in(path) if path.is_dir() else [path]:
                found.setdefault(file.resolve(), file)
        except RelatentError as error:
            errors.append(error)
    return [*(_opened(path) for path in found.values()), *errors]


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
    """Open an inversion's file; raises CheckpointError if it is none."""
    return Saved(path, Inversion.load(path), stem_of(path))


def stem_of(path: Path) -> str:
    """The stem of the names of a file's results."""
    return path.absolute().parent.name if path.name in OWN_FOLDER else path.stem


def claim_result(saved: Saved, outdir: Path | None) -> Claim:
    """Claim the folder for the results of an edit: OUTDIR/STEM, by default the inversion's own folder.

    Below ``outdir`` each folder belongs to one inversion. If STEM belongs to another one, or has any other content,
    STEM-2 is used, and so on.

    Raises:
        UsageError: the default would overwrite the file that was read.
        OutputError: a file of somebody else has the name of a result, the folder cannot be written, or another process
            is writing to it.
    """
    own = saved.path.parent if saved.path.name in OWN_FOLDER and saved.stem == stem_of(saved.path) else None
    folder = (own or saved.path.parent / saved.stem) if outdir is None else outdir / saved.stem
    if (folder / EDITED_FILE).absolute() == saved.path.absolute():
        raise UsageError(f"the result would replace {saved.path}, which is being edited. Choose another --outdir.")
    if own is not None and folder.resolve() == own.resolve():
        return claim_folder(folder)
    source: Owner = {"source": {"file": str(saved.path.resolve()), "name": saved.stem}}
    return claim_below(folder.parent, saved.stem, source, lambda known: _is_earlier_edit(known, saved))


def claim_below(outdir: Path, stem: str, owner: Owner, is_earlier: Callable[[Owner], bool] = lambda _: False) -> Claim:
    """Claim OUTDIR/STEM, or the first of STEM-2, STEM-3 ... that is free or the owner's.

    ``is_earlier`` recognises the reports of earlier versions, which do not name their source.
    """
    return _with_room(
        take_first(
            _numbered(outdir, stem),
            owner,
            lambda known: known.get("source") == owner["source"] or ("source" not in known and is_earlier(known)),
        )
    )


def claim_folder(folder: Path, names: Sequence[str] = WRITTEN) -> Claim:
    """Claim a folder of any owner for files called ``names``; raises OutputError as :func:`claim_result` does."""
    claim = take(folder, {})
    if claim is None:
        raise OutputError(f"{folder} is being written by another process. Wait for it, then try again.")
    return _with_room(claim, names)


def _with_room(claim: Claim, names: Sequence[str] = WRITTEN) -> Claim:
    try:
        claim.require_room(names)
    except OutputError:
        claim.release()
        raise
    return claim


def _numbered(outdir: Path, stem: str) -> Iterator[Path]:
    return (outdir / (stem if number == 1 else f"{stem}-{number}") for number in count(1))


def _is_earlier_edit(known: Owner, saved: Saved) -> bool:
    """Whether a report of an earlier version is of an edit or mix of the same face."""
    edit, mix, photo = known.get("edit"), known.get("mix"), made_from(saved)
    if isinstance(mix, dict) and isinstance(mix.get("faces"), list):
        return "photo" not in known and str(saved.path) in mix["faces"][:1]
    return "photo" not in known and isinstance(edit, dict) and bool(photo) and edit.get("made_from") == photo


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


def made_from(saved: Saved | SavedFile) -> dict[str, object]:
    """The entry of the photo in the report beside an inversion or edited inversion: name, file, sha256, face."""
    report = saved.report
    edits = [report[key] for key in ("edit", "mix", "drag") if isinstance(report.get(key), dict)]
    for photo in (report.get("photo"), *(edit.get("made_from") for edit in edits)):  # type: ignore[attr-defined]
        if isinstance(photo, dict):
            return photo
    return {}


def write_edited(
    claim: Claim,
    edited: Inversion,
    network: Generator,
    *,
    key: str,  # "edit", "mix" or "drag"
    account: dict[str, object],  # stored below ``key`` in report.json
    face: MarkedImage | None = None,  # the face at the photo's resolution; None for the network's drawing
    pasted: MarkedImage | None = None,  # the whole photo
    drawn: Tensor | None = None,  # what the network draws, where it is known; None draws it
    metadata: bool = True,  # write the mark of relatent.core.provenance
    more: Mapping[str, bytes] | None = None,  # further files
) -> None:
    """Write edited.png, drawn.png, pasted.png if there is one, edited.safetensors and report.json, each atomically.

    In the folder of an inversion report.json keeps its content, and ``key`` is added. The pasted.png of an earlier
    edit is deleted, because it would be mistaken for a result of this one.

    Raises:
        OutputError: the folder cannot be written, or a file of somebody else has the name of a result.
    """
    picture = edited.marked(edited.tensor(network) if drawn is None else drawn).encoded(metadata=metadata)
    shown = picture if face is None else face.encoded(metadata=metadata)
    files = {EDITED_PICTURE: shown, DRAWN_FILE: picture, **(more or {})}
    if pasted is not None:
        files[PASTED_FILE] = pasted.encoded(metadata=metadata)
    with claim.writing() as scratch:
        edited.save(scratch / EDITED_FILE)
        for name, data in files.items():
            (scratch / name).write_bytes(data)
        claim.finish(_with_account(claim, edited, key, {**account, "edits": edited.edits}), obsolete=[PASTED_FILE])


def write_account(
    claim: Claim, edited: Inversion, key: str, account: dict[str, object], files: Mapping[str, bytes]
) -> None:
    """Write files and put ``account`` below ``key`` of the folder's report.json, which is created if missing."""
    with claim.writing() as scratch:
        for name, data in files.items():
            (scratch / name).write_bytes(data)
        claim.finish(_with_account(claim, edited, key, account))


def _with_account(claim: Claim, edited: Inversion, key: str, account: dict[str, object]) -> dict[str, object]:
    report = read_report(claim.folder) or {"network": edited.network, "versions": versions()}
    return {**report, key: account}
