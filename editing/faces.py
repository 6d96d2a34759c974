"""Faces, whatever they are given as: what commands, page and Python all open them with.

out/me                     a folder that `inversion.project` or `editing edit` wrote, or a folder of such folders
inversion.safetensors      its file
latents.pt, w.npz, w.npy   latents of any projector or encoder (inversion/foreign_latents.py), of a network that
                           is named; latents.pt:3 or latents.npy:me.jpg for one of several
me.jpg                     a photo, which is inverted on the spot
85,100,1500-1502           seeds
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editing.results import INVERSION_FILE, Saved, SavedFile, open_saved, saved_in, stem_of
from editing.seeds import seed_inversion
from inversion import Inversion
from inversion.batch.jobs import FolderNames, open_job
from inversion.batch.run import BatchOptions, project_photos
from inversion.foreign_latents import LATENT_FILE, foreign_inversions, latent_kind, single
from inversion.inverting import invert
from inversion.photos import PhotoLike
from inversion.pipeline import open_network
from relatent.core.device import pick_device
from relatent.core.errors import CheckpointError, PhotoError, RelatentError, UsageError
from relatent.core.images import SUFFIXES
from relatent.core.numbers import whole_number
from relatent.core.ranges import is_number_list, whole_numbers
from stylegan import Generator, network_id
from stylegan.formats.checkpoint import is_foreign, same_network

LATENT_SUFFIXES = (".npz", ".npy", ".pt", ".pth", ".pkl")  # of files that are no photos, however damaged
INVERSION_SUFFIX = Path(INVERSION_FILE).suffix
OUTDIR = Path("out")  # where `inversion.project` puts what it makes of photos


@dataclass(frozen=True)
class LatentFile:
    """Latents of another tool, which only their network can open.

    Attributes:
        path: the file.
        entry: one of its faces; None for all.
    """

    path: Path
    entry: str | None = None


@dataclass(frozen=True)
class PhotoFile:
    """A photo that is yet to be inverted."""

    path: Path


Named = Saved | LatentFile | PhotoFile | int  # an inversion on disk, what becomes one, or a seed
FaceLike = Inversion | int | PhotoLike


@dataclass(frozen=True)
class Face:
    """A face with a name.

    Attributes:
        name: used in file names: the inversion's stem, or the seed.
        inversion: the face.
        saved: its file; None for a seed.
    """

    name: str
    inversion: Inversion
    saved: Saved | None = None


def find_faces(texts: Iterable[str]) -> list[Named]:
    """Parse seeds such as "85,100,1500-1502", and paths, which may be separated by commas.

    A path that is made of digits alone needs a ``./`` before it.

    Raises:
        CheckpointError: a path at which no face is.
        UsageError: a range of seeds that cannot be meant.
    """
    found: list[Named] = []
    for one in look_for_faces(texts):
        if isinstance(one, RelatentError):
            raise one
        found.append(one)
    return found


def look_for_faces(texts: Iterable[str]) -> list[Named | RelatentError]:
    """As :func:`find_faces`, with errors in the places of what could not be found; no file comes twice for one text."""
    return [_read(one) if isinstance(one, SavedFile) else one for one in name_faces(texts)]


def name_faces(texts: Iterable[str]) -> Iterator[Named | SavedFile | RelatentError]:
    """As :func:`look_for_faces`, without reading the inversions, of which there may be too many for the memory."""
    for text in texts:
        try:
            yield from _named(text)
        except RelatentError as error:
            yield error


def _read(file: SavedFile) -> Saved | RelatentError:
    try:
        return file.open()
    except RelatentError as error:
        return error


def _named(text: str) -> Iterator[Named | SavedFile | RelatentError]:
    if not text.strip():
        raise UsageError('a face came as an empty text; expected a path or a seed. Write "." for the current folder.')
    if is_number_list(text):
        yield from whole_numbers(text, "seeds")
        return
    path, entry = _split(text)
    if "," in text and not path.exists():
        yield from name_faces(piece.strip() for piece in text.split(","))
    elif path.is_dir():
        for one in saved_in(path):
            try:
                yield _in_file(one, None)
            except RelatentError as error:
                yield error
    else:
        yield _in_file(path, entry)


def look_for_faces_in(folder: Path) -> list[Named | RelatentError]:
    """The faces of a folder; one that cannot be opened is its error."""
    found: list[Named | RelatentError] = []
    for path in saved_in(folder):
        try:
            one = _in_file(path, None)
            found.append(one.open() if isinstance(one, SavedFile) else one)
        except RelatentError as error:
            found.append(error)
    return found


def _split(text: str) -> tuple[Path, str | None]:
    """ "latents.pt:3" into the file and its entry; a colon may also be part of a name."""
    whole = Path(text)
    before, colon, entry = text.rpartition(":")
    if colon and entry and not whole.exists() and Path(before).is_file():
        return Path(before), entry
    return whole, None


def _in_file(path: Path, entry: str | None) -> Named | SavedFile:
    """The face, or faces, of one file, by what is in it."""
    if not path.exists():
        raise CheckpointError(
            f"{path} does not exist; expected an inversion's folder or file, a file of latents, a photo, or seeds."
        )
    kind = latent_kind(path)
    suffix = path.suffix.lower()
    if kind is None and entry is None and (suffix in SUFFIXES or not suffix):
        return PhotoFile(path)
    if kind is None and suffix not in (*LATENT_SUFFIXES, INVERSION_SUFFIX):
        raise CheckpointError(
            f"{path} is no face that can be read; expected an inversion's folder or file ({INVERSION_SUFFIX}), latents "
            f"({', '.join(LATENT_SUFFIXES)}), a photo ({', '.join(sorted(SUFFIXES))}), or seeds."
        )
    own = not is_foreign(path) if kind == "safetensors" else kind is None and suffix not in LATENT_SUFFIXES
    return SavedFile(path) if own else LatentFile(path, entry)


def open_faces_network(found: Sequence[Named], network: str | None, device: str | None) -> Generator:
    """The network of faces: ``network`` if given, else that of the first inversion, else the embedded one.

    Raises:
        UsageError: the first inversion belongs to another network, or its network has changed.
        CheckpointError: the network cannot be read.
    """
    first = next((one.inversion for one in found if isinstance(one, Saved)), None)
    if network is not None or first is None:
        generator = open_network(network, device)
    else:
        generator = first.open_network().to(pick_device(device))
    return generator if first is None else first.check_network(generator)


def as_faces(found: Sequence[Named], network: Generator, psi: float = 1.0, outdir: Path | None = None) -> list[Face]:
    """Faces of ``network``, each with a name of its own: a second one of a name is called NAME-2.

    Args:
        found: what :func:`find_faces` found.
        network: theirs; of one with classes, the chosen one's seeds are drawn.
        psi: truncation of the seeds.
        outdir: where photos are inverted to; None for "out".

    Raises:
        UsageError: an inversion of another network, or what is no seed.
        PhotoError: a photo without a face.
        ShapeError, CheckpointError: latents of another network, or that cannot be read.
    """
    faces: list[Face] = []
    taken: dict[str, Saved | int] = {}
    for one in (opened for named in found for opened in opened_faces(named, network, outdir)):
        if isinstance(one, Saved):
            one.inversion.check_network(network)
            stem, saved, inversion = one.stem, one, one.inversion
        else:
            stem, saved, inversion = str(one), None, seed_inversion(network, one, psi)
        name, number = stem, 1
        while name in taken and not _same(taken[name], one):
            number += 1
            name = f"{stem}-{number}"
        taken[name] = one
        faces.append(Face(name, inversion, saved))
    return faces


def opened_faces(named: Named, network: Generator, outdir: Path | None = None) -> list[Saved | int]:
    """What is named, with photos inverted and latents read; raises as :func:`as_faces` does."""
    if isinstance(named, LatentFile):
        found = foreign_inversions(named.path, network, named.entry)
        stem = stem_of(named.path)
        foreign = named.path.name != LATENT_FILE
        several = len(found) > 1 or named.entry is not None
        stems = [f"{stem}-{Path(one.photo).stem.removeprefix(f'{stem}-')}" if several else stem for one in found]
        return [Saved(named.path, one, own, foreign) for one, own in zip(found, stems, strict=True)]
    if isinstance(named, PhotoFile):
        return [invert_photo(named.path, network, outdir)]
    return [named]


def invert_photo(photo: Path, network: Generator, outdir: Path | None = None) -> Saved:
    """The inversion of a photo in OUTDIR/STEM, made there as `inversion.project` does unless it is there already.

    Raises:
        PhotoError: it cannot be read or has no face.
        OutputError: the folder cannot be written.
    """
    outdir = outdir or OUTDIR
    file = FolderNames(outdir).folder(open_job(photo), 1) / INVERSION_FILE
    if file.is_file():
        saved = open_saved(file)
        if same_network(saved.inversion.network, network_id(network)):
            return saved
    (outcome,) = project_photos([photo], outdir, network, options=BatchOptions(retry_failed=True))
    if outcome.folder is None:
        raise PhotoError(outcome.message)
    return open_saved(outcome.folder / INVERSION_FILE)


def open_face(face: FaceLike, network: Generator | str | Path | None = None, *, psi: float = 1.0) -> Inversion:
    """One face as an inversion, whatever it is given as; for the command line's words see the module's docstring.

    Args:
        face: an inversion, which comes back as it is; a path; a seed; a photo as a path, a Pillow image or pixels,
            which is inverted in memory.
        network: name, file or generator, of latents that name none, of photos and of seeds; None for the embedded one.
        psi: truncation of a seed.

    Raises:
        UsageError: several faces where one was expected, or none at all.
        PhotoError, CheckpointError, ShapeError: what cannot be opened.
    """
    if isinstance(face, Inversion):
        return face
    seed = whole_number(face)
    if seed is not None:
        return seed_inversion(open_network(network), seed, psi)
    if isinstance(face, bool) or not isinstance(face, str | Path):
        return invert(face, network=network)  # type: ignore[arg-type] # which says what it cannot take
    (named,) = _only(find_faces([str(face)]), face)
    if isinstance(named, LatentFile):
        return single(foreign_inversions(named.path, open_network(network), named.entry), named.path)
    if isinstance(named, PhotoFile):
        return invert(named.path, network=network)
    return named.inversion if isinstance(named, Saved) else seed_inversion(open_network(network), named, psi)


def open_faces(faces: Iterable[FaceLike], network: Generator | str | Path | None = None) -> list[Inversion]:
    """Several faces of one network; latents, photos and seeds belong to that of the first inversion among them.

    Raises:
        UsageError, PhotoError, CheckpointError, ShapeError: as :func:`open_face`.
    """
    given = [open_face(face) if _names_network(face) else face for face in faces]
    first = next((face for face in given if isinstance(face, Inversion)), None)
    if first is not None and network is None and not all(isinstance(face, Inversion) for face in given):
        network = first.open_network()
    return [open_face(face, network) for face in given]


def _names_network(face: Any) -> bool:
    """Whether a face is an inversion of ours, in memory or on disk, and so knows its network."""
    if isinstance(face, str | Path) and not is_number_list(str(face)):
        found = find_faces([str(face)])
        return len(found) == 1 and isinstance(found[0], Saved)
    return isinstance(face, Inversion)


def _only(found: list[Named], face: object) -> list[Named]:
    if len(found) != 1:
        raise UsageError(f"{face} holds {len(found)} faces; expected one. Name one of them.")
    return found


def _same(one: Saved | int, other: Saved | int) -> bool:
    if isinstance(one, Saved) and isinstance(other, Saved):
        return one.path.absolute() == other.path.absolute() and one.stem == other.stem
    return one == other
