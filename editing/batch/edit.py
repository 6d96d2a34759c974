"""Many inversions through one edit: one that fails is reported and never stops the others."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np

from editing.directions.direction import Direction
from editing.edits import find, moved, truncated, within
from editing.pasting import DEFAULT_BLEND, Blend, paste_back
from editing.photo_faces import At, at_photo, cut_from, photo_face, sheet_side
from editing.results import Saved, find_photo, is_photo_of, made_from, result_folder, write_edited, write_report
from inversion import Inversion
from inversion.pipeline import open_network
from relatent.core.device import pick_device
from relatent.core.errors import RelatentError, UsageError
from relatent.core.files import write_bytes
from relatent.core.images import MAX_PIXELS, Photo, read_photo, to_levels, to_pixels
from relatent.core.provenance import MarkedImage, software_tag
from relatent.face.crop import LARGEST
from stylegan import Generator

SWEEP_FILE = "sweep.png"


@dataclass(frozen=True)
class Sweep:
    """Evenly spaced strengths of one direction."""

    name: str
    start: float
    stop: float
    count: int

    @property
    def strengths(self) -> list[float]:
        return np.linspace(self.start, self.stop, self.count).tolist()


@dataclass(frozen=True)
class EditOptions:
    """What `editing edit` was asked for.

    Attributes:
        strengths: by direction, name or file.
        sweeps: none; one, drawn as a strip; or two, drawn as a grid, rows first.
        only: regions in which alone the edit may show; empty for everywhere.
        keep: regions that stay as they are.
        layers: the only ones that directions may move, as `editing.layers.layer_numbers` reads them; None for theirs.
        truncation: how much of what sets a face apart from the network's average stays; 1 for all.
        blend: how a face goes back into its photo.
        at: "photo" shows edited faces at their photo's resolution, where the photo or its face is known; "network" as
            the network draws them.
        photos: photos, or folders of photos, to look at for the ones that were inverted.
        folders: folders of further directions.
        metadata: write the mark of relatent.core.provenance, and keep what the photo says of itself.
        network: name, file or generator, where the ones the inversions remember have moved or are at hand.
        device: None for the best there is.
    """

    strengths: dict[str, float] = field(default_factory=dict)
    sweeps: tuple[Sweep, ...] = ()
    only: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    layers: str | None = None
    truncation: float = 1.0
    blend: Blend = DEFAULT_BLEND
    at: At = "photo"
    photos: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()
    metadata: bool = True
    network: str | Generator | None = None
    device: str | None = None

    @property
    def changes(self) -> bool:
        """Whether the faces themselves are changed, not only shown along a sweep."""
        return bool(self.strengths) or self.truncation != 1


@dataclass(frozen=True)
class Edited:
    """What became of one inversion: its folder, or the error in its stead.

    Attributes:
        folder: where the results are; None if it failed.
        error: why it failed.
        note: what a person should know; empty if nothing.
    """

    folder: Path | None = None
    error: RelatentError | None = None
    note: str = ""


@dataclass
class _Task:
    saved: Saved
    folder: Path
    network: Generator
    edited: Inversion
    directions: dict[str, Direction]
    photo: Path | None
    seconds: float


def edit_all(
    found: Sequence[Saved | RelatentError], outdir: Path | None = None, options: EditOptions | None = None
) -> Iterator[Edited]:
    """Edit inversions and write their folders, yielding what became of each.

    Faces of one photo that are edited together are pasted together: each folder's pasted.png shows all of them.

    Args:
        found: inversions; an error in the place of one is passed on.
        outdir: results go to OUTDIR/STEM; None for each inversion's own folder.
        options: see :class:`EditOptions`.
    """
    options = options or EditOptions()
    tasks: list[_Task] = []
    networks: dict[str, Generator] = {}
    for one in found:
        if isinstance(one, RelatentError):
            yield Edited(error=one)
            continue
        try:
            tasks.append(_edited(one, outdir, options, networks, alone=len(found) == 1))
        except RelatentError as error:
            yield Edited(error=error)
    whole = _WholePhotos(tasks, options.blend)
    for task in tasks:
        try:
            note = _write(task, whole, options)
            yield Edited(folder=task.folder, note=note)
        except RelatentError as error:
            yield Edited(error=error)


def _edited(
    saved: Saved, outdir: Path | None, options: EditOptions, networks: dict[str, Generator], *, alone: bool
) -> _Task:
    started = time.perf_counter()
    inversion = saved.inversion
    folder = result_folder(saved, outdir)
    names = [*options.strengths, *(sweep.name for sweep in options.sweeps)]
    directions = {name: find(name, inversion, folders=options.folders) for name in names}
    if inversion.network not in networks:
        opened = open_network(options.network, options.device) if options.network else inversion.open_network()
        networks[inversion.network] = opened.to(pick_device(options.device))
    network = inversion.check_network(networks[inversion.network])
    start = inversion if options.truncation == 1 else truncated(inversion, network, options.truncation)
    edited = _moved(start, [(directions[name], value) for name, value in options.strengths.items()], network, options)
    photo = None if inversion.face_to_photo is None else find_photo(saved, options.photos, alone=alone)
    return _Task(saved, folder, network, edited, directions, photo, time.perf_counter() - started)


def _moved(
    inversion: Inversion, moves: list[tuple[Direction, float]], network: Generator, options: EditOptions
) -> Inversion:
    edited = moved(inversion, moves, options.layers)
    return within(edited, options.only, options.keep, network) if options.only or options.keep else edited


class _WholePhotos:
    """Photos with all their edited faces in them; the last one is remembered, as its next face wants it, too."""

    def __init__(self, tasks: Sequence[_Task], blend: Blend) -> None:
        self.tasks, self.blend = tasks, blend
        self.path: Path | None = None
        self.source: Photo | None = None
        self.image: MarkedImage | None = None

    def read(self, path: Path) -> Photo:
        """The photo as it is.

        Raises:
            PhotoError: it cannot be read.
        """
        if self.path != path or self.source is None:
            self.source, self.image, self.path = read_photo(path), None, path
        return self.source

    def pasted(self, path: Path) -> MarkedImage:
        """The photo with every face of it that is edited.

        Raises:
            PhotoError: it cannot be read.
            UsageError: a face lies outside it.
        """
        source = self.read(path)
        if self.image is None:
            together = [task for task in self.tasks if task.photo == path]
            networks = {task.edited.network: task.network for task in together}
            self.image = paste_back([task.edited for task in together], source, blend=self.blend, network=networks)
        return self.image


def _write(task: _Task, whole: _WholePhotos, options: EditOptions) -> str:
    """Write one folder; returns what a person should know."""
    started = time.perf_counter()
    account = _account(task, options)
    source = None if task.photo is None else whole.read(task.photo)
    pasted = face = None
    if task.photo is not None and options.changes:
        pasted = whole.pasted(task.photo)
        face = cut_from(pasted, task.edited, task.network)
    elif options.changes and options.at == "photo":
        face = at_photo(task.edited, task.network, options.blend)
    if options.sweeps:
        picture = _sweep(task, options, source).encoded(metadata=options.metadata)
        write_bytes(task.folder / SWEEP_FILE, picture)
    account["seconds"] = round(task.seconds + time.perf_counter() - started, 3)
    if not options.changes:
        write_report(task.folder, task.edited, "edit", account)
        return ""
    write_edited(
        task.folder,
        task.edited,
        task.network,
        key="edit",
        account=account,
        face=face if options.at == "photo" else None,
        pasted=pasted,
        metadata=options.metadata,
    )
    return _about_photo(task)


def _sweep(task: _Task, options: EditOptions, source: Photo | None) -> MarkedImage:
    """The strip or grid of a sweep, on top of the edits that were set."""
    count, side = math.prod(sweep.count for sweep in options.sweeps), task.network.resolution
    if count * side**2 > MAX_PIXELS:
        raise UsageError(f"the sweep would be {count} pictures of {side} px, too many for one file. Lower its count.")
    shown = photo_face(task.edited, task.network, source, LARGEST) if options.at == "photo" else None
    shown = shown and shown.resized(sheet_side([shown], task.network, count, MAX_PIXELS))
    cells = []
    for strengths in product(*(sweep.strengths for sweep in options.sweeps)):
        moves = [(task.directions[one.name], value) for one, value in zip(options.sweeps, strengths, strict=True)]
        face = _moved(task.edited, moves, task.network, options)
        drawn = face.tensor(task.network)
        cells.append(
            to_pixels(drawn)[0] if shown is None else shown.edited(face, to_levels(drawn)[0].numpy(), options.blend)
        )
    columns = options.sweeps[-1].count
    rows = [np.concatenate(cells[first : first + columns], axis=1) for first in range(0, len(cells), columns)]
    pixels = np.concatenate(rows)
    ranges = ", ".join(f"{one.name} {one.start:g} to {one.stop:g}" for one in options.sweeps)
    tag = f"{software_tag(task.edited.network, task.edited.edits)}; sweep {ranges}"
    return MarkedImage(pixels, tag)


def _account(task: _Task, options: EditOptions) -> dict[str, object]:
    """What report.json says of the edit."""
    return {
        "strengths": options.strengths,
        "sweeps": [[one.name, one.start, one.stop, one.count] for one in options.sweeps],
        "directions": {
            name: {"source": one.source, "unit": one.unit, "network": one.network, **one.facts}
            for name, one in task.directions.items()
        },
        "only": list(options.only),
        "keep": list(options.keep),
        "layers": options.layers,
        "truncation": options.truncation,
        "blend": options.blend,
        "at": options.at,
        "photo": None if task.photo is None else str(task.photo),
        "made_from": made_from(task.saved),
        "metadata": options.metadata,
    }


def _about_photo(task: _Task) -> str:
    """What is to be said of the photo that was pasted into, or was not."""
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
