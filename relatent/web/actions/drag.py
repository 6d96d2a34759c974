"""The Drag tab: points and a painted mask from the browser, and drags of the face as it is now."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from editing.dragging.options import MOST_POINTS, DragOptions
from editing.dragging.plausibility import usual_distance
from editing.dragging.run import Dragged, drag_points
from editing.dragging.search import REASONS, DragStep, Progress
from editing.pasting import DEFAULT_BLEND, Blend
from editing.photo_faces import PhotoFace
from inversion import Inversion
from relatent.core.errors import UsageError
from relatent.core.images import to_levels
from relatent.core.numbers import number_in
from relatent.web.actions.edit import DragMove
from relatent.web.actions.results import changed, photo_face_of
from relatent.web.session import Kept
from relatent.web.state import AppState
from stylegan import Generator

SIDE = 512  # px of the square on the screen
MOST_STROKES, MOST_PLACES = 200, 20_000  # of a painted mask; places over all its strokes
LEAST_TRUNCATION = 0.2  # below it, a drag would have to move the latents far to move the picture
FINE = 4  # a mask is painted at this multiple of the network's size
FEATHER = 0.015  # standard deviation of its soft edge, relative to the face's side

Pair = tuple[float, float, float, float]


@dataclass(frozen=True)
class Stroke:
    """A stroke of the brush; lengths are shares of the face's square.

    Attributes:
        radius: of the brush.
        places: (x, y) along it.
    """

    radius: float
    places: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Marks:
    """What is marked on the face; lengths are shares of its square, (0, 0) the top left corner.

    Attributes:
        pairs: start and end of each point, (x, y, x, y).
        strokes: of the mask, where the face may change; none for everywhere.
    """

    pairs: tuple[Pair, ...] = ()
    strokes: tuple[Stroke, ...] = ()

    @classmethod
    def read(cls, text: object) -> Marks:
        """The marks of the browser's text.

        Raises:
            UsageError: anything that the page does not send.
        """
        try:
            found = json.loads(str(text or "{}"))
            pairs, strokes = found.get("pairs", []), found.get("strokes", [])
            read = cls(
                tuple(_numbers(pair, 4) for pair in pairs),  # type: ignore[misc]
                tuple(
                    Stroke(_numbers([stroke["radius"]], 1)[0], tuple(_numbers(one, 2) for one in stroke["places"]))  # type: ignore[misc]
                    for stroke in strokes
                ),
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise UsageError(f"the points came as {str(text)!r:.60}. Reload the page, and mark them again.") from None
        if len(read.pairs) > MOST_POINTS:
            raise UsageError(f"{len(read.pairs)} points came; at most {MOST_POINTS} can be dragged. Remove some.")
        if len(read.strokes) > MOST_STROKES or sum(len(stroke.places) for stroke in read.strokes) > MOST_PLACES:
            raise UsageError("the mask has too many strokes. Clear it, and paint it with a larger brush.")
        return read

    def text(self) -> str:
        """For the browser; :meth:`read` undoes it."""
        strokes = [{"radius": stroke.radius, "places": stroke.places} for stroke in self.strokes]
        return json.dumps({"pairs": self.pairs, "strokes": strokes})

    def with_pair(self, values: Sequence[object]) -> Marks:
        """With one more point, from four numbers in per cent of the square.

        Raises:
            UsageError: no numbers from 0 to 100, too many points, or an end at its start.
        """
        numbers = [number_in(str(value)) for value in values]
        pair = [number / 100 for number in numbers if number is not None and 0 <= number <= 100]
        if len(pair) != 4:
            raise UsageError("a point needs four numbers from 0 to 100: across and down, of its start and of its end.")
        if pair[:2] == pair[2:]:
            raise UsageError("the point ends where it starts. Change one of its ends.")
        if len(self.pairs) >= MOST_POINTS:
            raise UsageError(f"there are {MOST_POINTS} points already, and no more can be dragged. Remove one.")
        return dataclasses.replace(self, pairs=(*self.pairs, (pair[0], pair[1], pair[2], pair[3])))

    def without_last(self) -> Marks:
        """Without the point that came last."""
        return dataclasses.replace(self, pairs=self.pairs[:-1])

    def mask(self, size: int) -> np.ndarray | None:
        """Where the face may change, float32 [size, size] from 0 to 1; None for everywhere."""
        if not self.strokes:
            return None
        wide = size * FINE
        painted = np.zeros((wide, wide), np.uint8)
        for stroke in self.strokes:
            places = np.clip(np.array(stroke.places).reshape(-1, 2), -1, 2) * wide - 0.5
            ends = np.rint(places).astype(np.int32).reshape(-1, 1, 2)
            radius = max(1, round(min(1.0, stroke.radius) * wide))
            cv2.polylines(painted, [ends], False, 255, 2 * radius)
            for x, y in ends[:, 0]:
                cv2.circle(painted, (int(x), int(y)), radius, 255, -1)
        soft = cv2.GaussianBlur(painted.astype(np.float32) / 255, (0, 0), max(0.5, FEATHER * size) * FINE)
        return np.asarray(cv2.resize(soft, (size, size), interpolation=cv2.INTER_AREA))


class Measuring:
    """Measures what drags of a network are compared with, once and in the background: it takes seconds.

    Other drawings and jobs go on meanwhile. A drag waits for it before it takes the network.
    """

    def __init__(self, app: AppState) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._thread is not None and not self._thread.is_alive()

    def begin(self) -> None:
        """Start it, unless it was started before."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._measure, name="relatent-drag", daemon=True)
                self._thread.start()

    def wait(self) -> None:
        """Until it has ended."""
        self.begin()
        assert self._thread is not None
        self._thread.join()

    def _measure(self) -> None:
        usual_distance(self._app.network, self._app.network_lock.quick)


def drag_face(app: AppState, one: Kept, marks: Marks, progress: Progress | None = None) -> Dragged:
    """Drag the face as it is now; the caller holds the network.

    Raises:
        UsageError: no points, or points that cannot be dragged.
    """
    now = one.history.now
    if not marks.pairs:
        raise UsageError("no point is marked yet: touch the face where a point starts, then where it is to go.")
    if not abs(now.truncation) >= LEAST_TRUNCATION:
        raise UsageError(
            f"the truncation is {now.truncation:g}, and little of this face is left to drag. Set it to "
            f"{LEAST_TRUNCATION:g} or more first."
        )
    size = app.network.resolution
    ends = np.array(marks.pairs).reshape(-1, 2, 2) * size - 0.5  # pixel centres are whole numbers
    return drag_points(
        changed(app, one),
        app.network,
        ends[:, 0].tolist(),
        ends[:, 1].tolist(),
        marks.mask(size),
        options=DragOptions(pixels="face"),
        progress=progress,
    )


def add_drag(app: AppState, one: Kept, before: Inversion, marks: Marks, result: Dragged) -> bool:
    """Add a drag to the face's history; returns whether it has changed anything.

    Args:
        app: the shared state.
        one: the face.
        before: as it was dragged.
        marks: that it was dragged by.
        result: of :func:`drag_face`.
    """
    now = one.history.now
    ws = (result.face.ws - before.ws) / now.truncation
    if not bool(ws.any()):
        return False
    mask = marks.mask(app.network.resolution)
    move = DragMove(
        ws=ws,
        name=result.name,
        mask=None if mask is None else torch.from_numpy(mask)[None, None],
        handles=_pairs(result.handles),
        targets=_pairs(result.targets),
        points=_pairs(result.points),
    )
    one.history.add(dataclasses.replace(now, drags=(*now.drags, move)))
    return True


@dataclass(frozen=True)
class Square:
    """The face's square of its photo, on which points are marked.

    Attributes:
        found: the face in its photo; None where there is no photo.
        network: draws it.
    """

    found: PhotoFace | None
    network: Generator

    def picture(self, face: Inversion, blend: Blend = DEFAULT_BLEND) -> np.ndarray:
        """The square with the edits of ``face``, uint8 [S, S, 3]; what is drawn, where there is no photo.

        The caller holds the network.
        """
        if self.found is not None and not face.edits:
            return self.found.pixels
        levels = to_levels(face.tensor(self.network))[0].numpy()
        return levels.round().astype(np.uint8) if self.found is None else self.found.edited(face, levels, blend)


def square_of(app: AppState, one: Kept) -> Square:
    """The square of a face at a screen's size; the caller does not hold the network."""
    found = photo_face_of(app, one)
    return Square(found.resized(SIDE) if found is not None and found.side > SIDE else found, app.network)


def marks_at(step: DragStep, marks: Marks, size: int) -> Marks:
    """The marks with their starts where the points are at a step."""
    here = (step.points + 0.5) / size
    pairs = [(float(x), float(y), *pair[2:]) for (x, y), pair in zip(here, marks.pairs, strict=True)]
    return dataclasses.replace(marks, pairs=tuple(pairs))  # type: ignore[arg-type]


def account(result: Dragged, side: int) -> str:
    """What became of a drag, in a sentence."""
    left = 100 * np.linalg.norm(result.targets - result.points, axis=1).max() / side
    near = "" if result.reason == "arrived" else f" The farthest point is {left:.1f} % of the face's side from its end."
    plural = "step" if result.steps == 1 else "steps"
    return f"{result.steps} {plural}: {REASONS[result.reason]}.{near}"


def _pairs(points: np.ndarray) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in points)


def _numbers(values: Any, count: int) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(numbers)
    return numbers
