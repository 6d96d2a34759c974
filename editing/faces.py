"""Faces as a command line names them: inversions on disk, or seeds."""

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
        name: what files call it: the inversion's stem, or the seed.
        inversion: the face.
        saved: where it lies; None for a seed.
    """

    name: str
    inversion: Inversion
    saved: Saved | None = None


def find_faces(texts: Iterable[str]) -> list[Named]:
    """What each text names, in order: "85,100,1500-1502" seeds; anything else a path, or several with commas between.

    A path is that of an inversion's folder or file, or of a folder of such folders. One made of digits alone needs a
    ``./`` before it.

    Raises:
        CheckpointError: a path at which no inversion is.
        UsageError: a range of seeds that cannot be meant.
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
    """The network to draw faces with: the one that is named, else the first inversion's, else the embedded one.

    Raises:
        UsageError: the first inversion belongs to another, or its network is no longer what it was.
        CheckpointError: the network cannot be read.
    """
    first = next((one.inversion for one in found if isinstance(one, Saved)), None)
    if network is not None or first is None:
        generator = open_network(network, device)
    else:
        generator = first.open_network().to(pick_device(device))
    return generator if first is None else first.check_network(generator)


def as_faces(found: Sequence[Named], network: Generator, psi: float = 1.0) -> list[Face]:
    """Faces of ``network``, each with a name of its own: a second one of a name is called NAME-2.

    Args:
        found: what :func:`find_faces` found.
        network: theirs.
        psi: truncation of the seeds.

    Raises:
        UsageError: an inversion of another network, or what is no seed.
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
