"""Applies an edit to many inversions; errors of one are reported and do not stop the others."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np

from editing.batch.tasks import Task, WholePhotos, about_photo
from editing.directions.direction import Direction
from editing.edits import find, moved, truncated, within
from editing.faces import Named, opened_faces
from editing.pasting import DEFAULT_BLEND, Blend
from editing.photo_faces import At, at_photo, cut_from, photo_face, sheet_side
from editing.results import (
    Saved,
    SavedFile,
    claim_result,
    find_photo,
    made_from,
    write_account,
    write_edited,
)
from editing.seeds import seed_inversion
from inversion import Inversion
from inversion.pipeline import open_network
from relatent.core.device import pick_device
from relatent.core.errors import NoSpaceError, RelatentError, UsageError
from relatent.core.images import MAX_PIXELS, Photo, to_levels, to_pixels
from relatent.core.provenance import MarkedImage, software_tag
from relatent.face.crop import LARGEST
from stylegan import Generator, network_id

SWEEP_FILE = "sweep.png"
UNNAMED = ""  # the network of faces that name none


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
    """The options of `editing edit`.

    Attributes:
        strengths: by direction, name or file.
        sweeps: none; one, drawn as a strip; or two, drawn as a grid, rows first.
        only: regions to restrict the edit to; empty for everywhere.
        keep: regions that the edit does not change.
        layers: restrict directions to these layers, as for `editing.layers.layer_numbers`; None for their own.
        truncation: psi, applied before the directions; 1 for none.
        blend: how a face is pasted into its photo.
        at: "photo" writes edited faces at the resolution of their photo, if the photo or its crop is available;
            "network" at that of the network.
        photos: photos, or folders of photos, in which to search for the inverted ones.
        folders: folders of further directions.
        metadata: write the mark of relatent.core.provenance, and keep what the photo says of itself.
        network: name, file or generator, where the ones the inversions remember have moved or are at hand; of latents
            that name none, photos and seeds, which belong to the embedded one by default.
        class_number: of seeds, where their network has classes; None for none.
        device: None for the best there is.
        key: of a planned edit, kept in report.json; empty for others.
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
    class_number: int | None = None
    device: str | None = None
    key: str = ""

    @property
    def changes(self) -> bool:
        """Whether there is an edit besides sweeps."""
        return bool(self.strengths) or self.truncation != 1


@dataclass(frozen=True)
class Edited:
    """The outcome of one inversion: its folder, or an error.

    Attributes:
        folder: of the results; None if it failed.
        error: of a failure; else None.
        note: a remark for the user; may be empty.
        path: the inversion's file; None of what has none.
    """

    folder: Path | None = None
    error: RelatentError | None = None
    note: str = ""
    path: Path | None = None


def edit_all(
    found: Iterable[Named | SavedFile | RelatentError],
    outdir: Path | None = None,
    options: EditOptions | None = None,
    *,
    networks: dict[str, Generator] | None = None,
    alone: bool | None = None,
) -> Iterator[Edited]:
    """Edit faces and write their folders, yielding what became of each.

    Faces of one photo that are edited together are pasted together: each folder's pasted.png shows all of them. Of
    several inversions of one face, each shows its own. One photo's faces are in memory at a time, and of the others
    their names.

    Args:
        found: what :func:`editing.faces.look_for_faces` or :func:`editing.faces.name_faces` found; an error in the
            place of a face is passed on.
        outdir: results go to OUTDIR/STEM; None for each inversion's own folder.
        options: see :class:`EditOptions`.
        networks: opened ones by their id, to which others are added.
        alone: whether a single photo in the options is that of the only face, whatever its content; None for whether
            one was found.
    """
    options = options or EditOptions()
    networks = {} if networks is None else networks
    groups: dict[str, list[Saved | SavedFile]] = {}  # by the photo
    count = 0
    for one in found:
        count += 1
        for saved in _opened(one, outdir, options, networks):
            try:
                if isinstance(saved, RelatentError):
                    raise saved
                groups.setdefault(_photo_of(saved), []).append(saved)
            except RelatentError as error:
                yield Edited(error=error, path=getattr(saved, "path", None))
    seen: set[tuple[Path, str]] = set()
    for key in list(groups):
        yield from _edit_together(
            groups.pop(key), outdir, options, networks, seen, alone=count == 1 if alone is None else alone
        )


def _photo_of(saved: Saved | SavedFile) -> str:
    """What the inversions of one photo have in common."""
    known = made_from(saved)
    return str(known.get("sha256") or f"name {saved.open().inversion.photo or saved.path}")


def _edit_together(
    group: list[Saved | SavedFile],
    outdir: Path | None,
    options: EditOptions,
    networks: dict[str, Generator],
    seen: set[tuple[Path, str]],
    *,
    alone: bool,
) -> Iterator[Edited]:
    """Edit and write the faces of one photo."""
    tasks: list[Task] = []
    try:
        for one in group:
            try:
                saved = one.open()
                known = saved.path.resolve(), saved.stem
                if known not in seen:  # one that comes twice, by whatever path, is edited once
                    seen.add(known)
                    tasks.append(_edited(saved, outdir, options, networks, alone=alone))
            except RelatentError as error:
                yield Edited(error=error, path=one.path)
        whole = WholePhotos(tasks, options.blend)
        for task in tasks:
            try:
                note = _write(task, whole, options)
                yield Edited(folder=task.claim.folder, note=note, path=task.saved.path)
            except NoSpaceError:
                raise
            except RelatentError as error:
                yield Edited(error=error, path=task.saved.path)
    finally:
        for task in tasks:
            task.claim.release()


def _opened(
    named: Named | SavedFile | RelatentError, outdir: Path | None, options: EditOptions, networks: dict[str, Generator]
) -> Sequence[Saved | SavedFile | RelatentError]:
    """The inversions that one face's name stands for."""
    if isinstance(named, Saved | SavedFile | RelatentError):
        return [named]
    try:
        network = networks.get(UNNAMED) or open_network(options.network, options.device)
        networks[UNNAMED] = networks[network_id(network)] = network
        if isinstance(named, int):
            return [_of_seed(named, network.of_class(options.class_number), outdir)]
        return [one for one in opened_faces(named, network, outdir) if isinstance(one, Saved)]
    except RelatentError as error:
        return [error]


def _of_seed(seed: int, network: Generator, outdir: Path | None) -> Saved:
    if outdir is None:
        raise UsageError(f"--outdir is missing; the face of seed {seed} lies in no folder to write into.")
    return Saved(outdir / f"{seed}", seed_inversion(network, seed), str(seed), foreign=True)


def _edited(
    saved: Saved, outdir: Path | None, options: EditOptions, networks: dict[str, Generator], *, alone: bool
) -> Task:
    started = time.perf_counter()
    inversion = saved.inversion
    names = [*options.strengths, *(sweep.name for sweep in options.sweeps)]
    directions = {name: find(name, inversion, folders=options.folders) for name in names}
    if inversion.network not in networks:
        opened = open_network(options.network, options.device) if options.network else inversion.open_network()
        networks[inversion.network] = opened.to(pick_device(options.device))
    network = inversion.check_network(networks[inversion.network])
    if options.network and network.file:  # where it was when the photo was inverted it is no longer
        inversion = inversion.replace(network_file=network.file)
    start = inversion if options.truncation == 1 else truncated(inversion, network, options.truncation)
    edited = _moved(start, [(directions[name], value) for name, value in options.strengths.items()], network, options)
    photo = None if inversion.face_to_photo is None else find_photo(saved, options.photos, alone=alone)
    claim = claim_result(saved, outdir)
    return Task(saved, claim, network, edited, directions, photo, time.perf_counter() - started)


def _moved(
    inversion: Inversion, moves: list[tuple[Direction, float]], network: Generator, options: EditOptions
) -> Inversion:
    edited = moved(inversion, moves, options.layers)
    return within(edited, options.only, options.keep, network) if options.only or options.keep else edited


def _write(task: Task, whole: WholePhotos, options: EditOptions) -> str:
    """Write one folder; returns a note for the user."""
    started = time.perf_counter()
    account = _account(task, options)
    source = None if task.photo is None else whole.read(task.photo)
    pasted = face = None
    if task.photo is not None and options.changes:
        pasted = whole.pasted(task)
        face = cut_from(pasted, task.edited, task.network)
    elif options.changes and options.at == "photo":
        face = at_photo(task.edited, task.network, options.blend)
    strip = {}
    if options.sweeps:
        strip[SWEEP_FILE] = _sweep(task, options, source).encoded(metadata=options.metadata)
    account["seconds"] = round(task.seconds + time.perf_counter() - started, 3)
    if not options.changes:
        write_account(task.claim, task.edited, "edit", account, strip)
        return ""
    write_edited(
        task.claim,
        task.edited,
        task.network,
        key="edit",
        account=account,
        face=face if options.at == "photo" else None,
        pasted=pasted,
        drawn=task.drawn,
        metadata=options.metadata,
        more=strip,
    )
    return about_photo(task)


def _sweep(task: Task, options: EditOptions, source: Photo | None) -> MarkedImage:
    """The strip or grid of a sweep, starting from the edited face."""
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


def _account(task: Task, options: EditOptions) -> dict[str, object]:
    """The entry of the edit in report.json."""
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
        **({"key": options.key} if options.key else {}),
    }
