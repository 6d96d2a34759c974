"""Finds the faces named on a command line: inversions on disk, or seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from editing.results import Saved, find_saved
from editing.seeds import seed_inversion
from inversion import Inversion
from inversion.pipeline import open_network
from relatent.core.device import pick_device
from relatent.core.errors import RelatentError
from relatent.core.ranges import is_number_list, whole_numbers
from stylegan import Generator

Named = Saved | int  # an inversion on disk, or a seed


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

    A path is that of an inversion's folder or file, or of a folder of such folders. A path that consists of digits
    needs a ``./`` before it.

    Raises:
        CheckpointError: there is no inversion at a path.
        UsageError: an invalid range of seeds.
    """
    found: list[Named] = []
    for text in texts:
        if is_number_list(text):
            found.extend(whole_numbers(text, "seeds"))
        elif "," in text and not Path(text).exists():
            found.extend(find_faces(piece.strip() for piece in text.split(",")))
        else:
            for one in find_saved([Path(text)]):
                if isinstance(one, RelatentError):
                    raise one
                found.append(one)
    return found


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


def as_faces(found: Sequence[Named], network: Generator, psi: float = 1.0) -> list[Face]:
    """Faces with unique names: a second face of the same name is called NAME-2.

    Args:
        found: result of :func:`find_faces`.
        network: of the faces.
        psi: truncation of the seeds.

    Raises:
        UsageError: an inversion of another network, or a seed out of range.
    """
    faces: list[Face] = []
    taken: dict[str, Named] = {}
    for one in found:
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


def _same(one: Named, other: Named) -> bool:
    if isinstance(one, Saved) and isinstance(other, Saved):
        return one.path.absolute() == other.path.absolute()
    return one == other
