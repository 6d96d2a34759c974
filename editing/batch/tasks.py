"""Edits that are to be written, and the photos that several of them share."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from editing.directions.direction import Direction
from editing.pasting import Blend, paste_back
from editing.results import Saved, is_photo_of
from inversion import Inversion
from relatent.core.claims import Claim
from relatent.core.images import Photo, read_photo
from relatent.core.provenance import MarkedImage
from stylegan import Generator


@dataclass(eq=False)
class Task:
    """An edited face whose folder is claimed, and that waits to be written."""

    saved: Saved
    claim: Claim
    network: Generator
    edited: Inversion
    directions: dict[str, Direction]
    photo: Path | None
    seconds: float

    @functools.cached_property
    def drawn(self) -> Tensor:
        """The edited face as the network draws it, [1, 3, R, R]; drawn once for the photo and for the files."""
        return self.edited.tensor(self.network)


def together(task: Task, tasks: Sequence[Task]) -> list[Task]:
    """The tasks whose faces a pasted photo shows: this one, and those of the photo's other faces.

    Where a face was inverted several times, what lies beside this inversion goes first.
    """
    chosen = [task]
    if task.photo is None:
        return chosen
    place, home = task.photo.resolve(), task.saved.path.absolute().parent.parent
    others = [one for one in tasks if one is not task and one.photo is not None and one.photo.resolve() == place]
    for other in sorted(others, key=lambda one: one.saved.path.absolute().parent.parent != home):
        if not any(_same_face(other, one) for one in chosen):
            chosen.append(other)
    return [one for one in tasks if one in chosen]  # in one order for all: their pictures are the same


def _same_face(one: Task, other: Task) -> bool:
    """Whether two crops of a photo are of one face: their centres lie closer than half of the smaller one's side."""
    centres, sides = [], []
    for task in (one, other):
        matrix = task.saved.inversion.face_to_photo
        assert matrix is not None  # else no photo was looked for
        middle = (task.network.resolution - 1) / 2
        centres.append((matrix @ [middle, middle, 1])[:2])
        sides.append(task.network.resolution * abs(np.linalg.det(matrix[:2, :2])) ** 0.5)
    return bool(np.linalg.norm(centres[0] - centres[1]) < min(sides) / 2)


class WholePhotos:
    """Photos with all of their edited faces pasted; the last one is cached, because its next face needs it as well."""

    def __init__(self, tasks: Sequence[Task], blend: Blend) -> None:
        self.tasks, self.blend = tasks, blend
        self.path: Path | None = None
        self.source: Photo | None = None
        self.image: MarkedImage | None = None
        self.shown: list[Task] = []  # whose faces ``image`` shows

    def read(self, path: Path) -> Photo:
        """The photo without edits.

        Raises:
            PhotoError: it cannot be read.
        """
        if self.path != path or self.source is None:
            self.source, self.image, self.path = read_photo(path), None, path
        return self.source

    def pasted(self, task: Task) -> MarkedImage:
        """A task's photo with every face of it that is edited; of several inversions of one face, with its own.

        Raises:
            PhotoError: it cannot be read.
            UsageError: a face lies outside it.
        """
        assert task.photo is not None
        source, shared = self.read(task.photo), together(task, self.tasks)
        if self.image is None or self.shown != shared:
            networks = {one.edited.network: one.network for one in shared}
            self.image = paste_back(
                [one.edited for one in shared],
                source,
                blend=self.blend,
                network=networks,
                drawn=[one.drawn for one in shared],
            )
            self.shown = shared
        return self.image


def about_photo(task: Task) -> str:
    """A note on the photo if the face was not pasted, or pasted into another file; empty otherwise."""
    stem, name = task.saved.stem, task.saved.inversion.photo or "photo"
    if task.saved.inversion.face_to_photo is None:
        return f"{stem} was not made from a photo, so there is no pasted.png."
    if task.photo is None:
        return f"the {name} that {stem} was made from was not found, so there is no pasted.png; see --photo."
    if not is_photo_of(task.saved, task.photo):
        return (
            f"{task.photo} is not the file that {stem} was made from; in a photo of another size the face lies wrong."
        )
    return ""
