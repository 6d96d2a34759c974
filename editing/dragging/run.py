"""`drag` moves points of a face, and the face follows (Pan et al. 2023, "Drag Your GAN", arXiv 2305.10973)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from editing.dragging.options import DragOptions
from editing.dragging.points import Point, checked_points, landmark, require_landmark
from editing.dragging.search import REASONS, Progress, Reason, Search
from editing.faces import FaceLike, open_face
from inversion import Inversion
from inversion.pipeline import open_network
from relatent.core import cpu
from relatent.core.errors import ShapeError, UsageError
from relatent.core.images import to_pixels
from relatent.face.regions import check_regions, drawn_landmarks, region_mask
from relatent.face.sampling import map_points, sample_square
from stylegan import Generator

MaskLike = str | Iterable[str] | np.ndarray


@dataclass(frozen=True)
class Dragged:
    """What became of a drag.

    Attributes:
        face: the dragged face.
        name: of the edit, among those of ``face``.
        steps: pictures drawn with new latents.
        reason: why it ended, see :data:`REASONS`.
        handles: where the points started, float64 [N, 2] in pixels of the face.
        targets: where they were to go, likewise.
        points: where they are, likewise.
        change: of the picture, see :meth:`editing.dragging.plausibility.Plausibility.change`.
        seconds: of the whole.
    """

    face: Inversion
    name: str
    steps: int
    reason: Reason
    handles: np.ndarray
    targets: np.ndarray
    points: np.ndarray
    change: float
    seconds: float

    def report(self, side: int) -> dict[str, object]:
        """What report.json says of it; distances in per cent of the face's ``side``."""
        rows = [
            {
                "from": start.round(2).tolist(),
                "to": end.round(2).tolist(),
                "came_to": now.round(2).tolist(),
                "distance_before_percent": round(100 * float(np.linalg.norm(end - start)) / side, 2),
                "distance_after_percent": round(100 * float(np.linalg.norm(end - now)) / side, 2),
            }
            for start, end, now in zip(self.handles, self.targets, self.points, strict=True)
        ]
        about = {"steps": self.steps, "reason": self.reason, "ended_because": REASONS[self.reason]}
        return {**about, "change_percent": round(self.change, 1), "points": rows}


def drag(
    face: FaceLike,
    handles: Sequence[Point] = (),
    targets: Sequence[Point] = (),
    mask: MaskLike | None = None,
    *,
    landmarks: Mapping[str, Point] | None = None,
    options: DragOptions | None = None,
    network: Generator | str | Path | None = None,
    progress: Progress | None = None,
) -> Inversion:
    """Move points of a face to targets; noise, tuned weights and the position in the photo are kept.

    Args:
        face: an inversion, or whatever :func:`editing.faces.open_face` takes.
        handles: where points start, (x, y) in pixels of the photo; of the drawn face where ``options.pixels`` says so,
            or the face has no photo.
        targets: where they are to go, one for each handle.
        mask: where the face may change: names of :data:`relatent.face.regions.REGIONS`, or weights from 0 to 1,
            [H, W] of the photo or [R, R] of the face; None for everywhere.
        landmarks: further handles by name (:data:`editing.dragging.points.LANDMARKS`), each with its way
            (right, down) in the same pixels.
        options: see :class:`DragOptions`.
        network: of latents, photos and seeds; spares loading an inversion's own.
        progress: sees the start and each step; returning False ends the drag where it is.

    Returns:
        A new inversion in W+, whose ``origin`` is the face before any edit. :func:`drag_points` also says how far each
        point came.

    Raises:
        UsageError: points that cannot be dragged, see :func:`editing.dragging.points.checked_points`.
        UnknownNameError: there is no such region or landmark.
        ShapeError: a mask of another shape.
    """
    inversion = open_face(face, network)
    generator = network if isinstance(network, Generator) else inversion.open_network()
    if network is not None and not isinstance(network, Generator):
        generator = open_network(network)
    return drag_points(inversion, generator, handles, targets, mask, landmarks, options, progress).face


def drag_points(
    inversion: Inversion,
    network: Generator,
    handles: Sequence[Point],
    targets: Sequence[Point],
    mask: MaskLike | None = None,
    landmarks: Mapping[str, Point] | None = None,
    options: DragOptions | None = None,
    progress: Progress | None = None,
) -> Dragged:
    """:func:`drag` for an inversion and its loaded network, with an account of what was done; raises likewise."""
    started = time.perf_counter()
    options = options or DragOptions()
    inversion.check_network(network)
    starts, ends, to_face = _places(inversion, network, handles, targets, landmarks or {}, options)
    weights = None if mask is None else _weights(mask, inversion, network)
    way = _name(starts, ends, to_face)
    with cpu.prepared(network.w_avg.device):
        run = Search(inversion, network, starts, ends, weights, _shown(weights, inversion), way, options)
        reason = run.carry_out(progress)
    face = run.face()
    seconds = time.perf_counter() - started
    points = run.points.cpu().double().numpy()
    return Dragged(face, way, run.steps, reason, starts, ends, points, run.change, seconds)


def _places(
    inversion: Inversion,
    network: Generator,
    handles: Sequence[Point],
    targets: Sequence[Point],
    landmarks: Mapping[str, Point],
    options: DragOptions,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Handles and targets in pixels of the face, and the matrix that led there."""
    to_photo = np.eye(3)
    if options.pixels == "photo" and inversion.face_to_photo is not None:
        to_photo = inversion.face_to_photo
    handles, targets = list(handles), list(targets)
    for name in landmarks:
        require_landmark(name)
    if landmarks:
        found = drawn_landmarks(to_pixels(inversion.tensor(network))[0], network.alignment)
        for name, way in landmarks.items():
            here = map_points(to_photo, landmark(name, found)[None])[0]
            step = np.asarray(way, np.float64)
            if step.shape != (2,):
                raise UsageError(f"the way of {name} is {way!r:.60}; expected two numbers (right, down).")
            handles.append(here.tolist())
            targets.append((here + step).tolist())
    to_face = np.linalg.inv(to_photo)
    return *checked_points(handles, targets, to_face, network.resolution), to_photo


def _weights(mask: MaskLike, inversion: Inversion, network: Generator) -> np.ndarray:
    """Where the face may change, float32 [R, R]."""
    size = network.resolution
    if not isinstance(mask, np.ndarray):
        names = check_regions([mask] if isinstance(mask, str) else mask)
        if not names:
            raise UsageError("the mask names no region; leave it out for everywhere.")
        points = drawn_landmarks(to_pixels(inversion.tensor(network))[0], network.alignment)
        return region_mask(names, points, size)
    if mask.ndim != 2 or not np.isfinite(mask).all() or mask.min() < 0 or mask.max() > 1:
        raise ShapeError(f"the mask is {mask.dtype} {list(mask.shape)}; expected [H, W] with values from 0 to 1.")
    if mask.shape != (size, size):
        if inversion.face_to_photo is None:
            raise ShapeError(f"the mask has shape {list(mask.shape)}; expected the face's, [{size}, {size}].")
        levels = np.repeat(np.rint(mask * 255).astype(np.uint8)[..., None], 3, axis=2)
        mask = sample_square(levels, inversion.face_to_photo, size)[..., 0] / 255
    if mask.max() < 0.5:
        raise UsageError("the mask leaves nothing of the face that may change. Draw it over the face, in white.")
    return np.asarray(mask, np.float32)


def _shown(weights: np.ndarray | None, inversion: Inversion) -> torch.Tensor | None:
    """The mask of the dragged face, [1, 1, R, R]: what was edited before has to stay visible."""
    if weights is None or (inversion.edits and inversion.mask is None):
        return inversion.mask
    shown = torch.from_numpy(weights)[None, None]
    return shown if inversion.mask is None else torch.maximum(inversion.mask, shown)


def _name(starts: np.ndarray, ends: np.ndarray, to_photo: np.ndarray) -> str:
    """The name of the edit, from the first point's way."""
    (x, y), (to_x, to_y) = map_points(to_photo, np.stack([starts[0], ends[0]])).round(1)
    more = f"+{len(starts) - 1}" if len(starts) > 1 else ""
    return f"drag:{x:g},{y:g}>{to_x:g},{to_y:g}{more}"
