"""Handles and targets: checked, by name, and in pixels of the drawn face."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from editing.dragging.options import MOST_POINTS
from relatent.core.errors import UnknownNameError, UsageError
from relatent.core.numbers import number_in

Point = Sequence[float]

# dlib's numbering, of which a place is the mean; left and right as in the picture
LANDMARKS: dict[str, tuple[int, ...]] = {
    "mouth_left": (48,),
    "mouth_right": (54,),
    "lip_top": (51,),
    "lip_bottom": (57,),
    "chin": (8,),
    "jaw_left": (4,),
    "jaw_right": (12,),
    "nose_tip": (30,),
    "nostril_left": (31,),
    "nostril_right": (35,),
    "eyelid_left": (37, 38),
    "eyelid_right": (43, 44),
    "eye_left_outer": (36,),
    "eye_left_inner": (39,),
    "eye_right_inner": (42,),
    "eye_right_outer": (45,),
    "brow_left": (19,),
    "brow_left_inner": (21,),
    "brow_right": (24,),
    "brow_right_inner": (22,),
}


def landmark(name: str, landmarks: np.ndarray) -> np.ndarray:
    """The place (x, y) of a landmark by name, [2], in the pixels of ``landmarks`` [68, 2].

    Raises:
        UnknownNameError: there is no such landmark.
    """
    require_landmark(name)
    return np.asarray(landmarks[list(LANDMARKS[name])].mean(axis=0))


def require_landmark(name: str) -> None:
    """Raises UnknownNameError if there is no landmark of that name."""
    if name not in LANDMARKS:
        raise UnknownNameError("landmark", name, LANDMARKS)


def parse_point(text: str, flag: str) -> tuple[float, float]:
    """ "210,300" as a point.

    Raises:
        UsageError: anything else.
    """
    x, comma, y = text.partition(",")
    point = number_in(x), number_in(y)
    if not comma or point[0] is None or point[1] is None:
        raise UsageError(f"{flag} is {text!r:.60}; expected X,Y in pixels, for example 210,300.")
    return point[0], point[1]


def parse_landmark(text: str) -> tuple[str, tuple[float, float]]:
    """ "mouth_left=+10,-4" as a name and a way.

    Raises:
        UsageError: another format, or a way of no length.
        UnknownNameError: there is no such landmark.
    """
    name, equals, way = text.partition("=")
    if not equals:
        raise UsageError(f"--landmark is {text!r:.60}; expected NAME=RIGHT,DOWN, for example mouth_left=+10,-4.")
    require_landmark(name)
    return name, parse_point(way, f"--landmark {name}")


def checked_points(
    handles: Sequence[Point], targets: Sequence[Point], to_face: np.ndarray, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Handles and targets in pixels of the drawn face, both float64 [N, 2].

    Args:
        handles: where points start, (x, y).
        targets: where they are to go, one for each.
        to_face: [3, 3], from the pixels of the points to those of the face.
        side: of the face, R.

    Raises:
        UsageError: no points, too many, handles and targets that differ in number, a point that is no pair of finite
            numbers or lies outside the face, a handle that is its own target, or the same handle twice.
    """
    if len(handles) != len(targets):
        raise UsageError(f"{len(handles)} handles came with {len(targets)} targets; expected one target for each.")
    if not 1 <= len(handles) <= MOST_POINTS:
        raise UsageError(f"{len(handles)} points came to be dragged; expected 1 to {MOST_POINTS}.")
    pairs = []
    for number, pair in enumerate(zip(handles, targets, strict=True), start=1):
        here, there = (_pair(point, number) for point in pair)
        if np.array_equal(here, there):
            raise UsageError(f"point {number} starts at {_shown(here)} and is to end there. Move its target.")
        pairs.append((here, there))
    starts, ends = (np.array([pair[index] for pair in pairs]) for index in (0, 1))
    if len(np.unique(starts, axis=0)) < len(starts):
        raise UsageError("two points start at the same place. Start each at a place of its own.")
    inside = []
    for what, points in (("starts", starts), ("is to end", ends)):
        mapped = points @ to_face[:2, :2].T + to_face[:2, 2]
        outside = (mapped < -0.5) | (mapped > side - 0.5)
        if outside.any():
            number = int(outside.any(axis=1).argmax())
            corners = _corners(to_face, side)
            raise UsageError(
                f"point {number + 1} {what} at {_shown(points[number])}, outside the face; expected a place inside "
                f"the square with the corners {corners}."
            )
        inside.append(mapped)
    return inside[0], inside[1]


def _pair(point: Point, number: int) -> np.ndarray:
    try:
        values = np.asarray(point, np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.shape != (2,) or not np.isfinite(values).all():
        raise UsageError(f"point {number} came as {point!r:.60}; expected two finite numbers (x, y).")
    return values


def _shown(point: np.ndarray) -> str:
    return f"{point[0]:g},{point[1]:g}"


def _corners(to_face: np.ndarray, side: int) -> str:
    back = np.linalg.inv(to_face)
    corners = np.array([[0, 0], [side - 1, 0], [side - 1, side - 1], [0, side - 1]], np.float64)
    return " ".join(_shown(corner.round()) for corner in corners @ back[:2, :2].T + back[:2, 2])
