"""Soft masks of named regions of a face, to restrict edits.

All regions are derived from dlib's 68 landmarks, which do not include hair and background. `hair` is estimated as the
area around the upper half of the face within the usual size of a head, and `background` as the area outside it.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from relatent.core.alignment import Alignment
from relatent.core.errors import UnknownNameError
from relatent.face.align import checked_landmarks
from relatent.face.identity import aligned_box
from relatent.face.landmarks import find_faces, predict_landmarks

REGIONS = ("mouth", "eyes", "brows", "nose", "face", "hair", "background")

# dlib's numbering
JAW, BROWS, NOSE, MOUTH = slice(0, 17), slice(17, 27), slice(27, 36), slice(48, 68)
LEFT_BROW, RIGHT_BROW, LEFT_EYE, RIGHT_EYE = slice(17, 22), slice(22, 27), slice(36, 42), slice(42, 48)
NOSE_TIP = 33

FEATHER = 0.015  # standard deviation of the soft edge, relative to the side of the picture
FINE = 4  # polygons are drawn at this multiple of the size
FOREHEAD = 0.55  # height of the hairline above the brows, relative to the distance from brows to nose tip
FRINGE = 0.25  # the same for the lower edge of a fringe; regions may overlap
HEAD, NECK = 1.35, 1.12  # size of the head above and below the mouth, relative to the face


def region_mask(names: Iterable[str], landmarks: np.ndarray, size: int) -> np.ndarray:
    """The mask of the named regions with soft edges, 1 inside and 0 outside; float32 [size, size].

    Args:
        names: of :data:`REGIONS`.
        landmarks: [68, 2], (x, y) in pixels of the picture, (0, 0) the centre of the top-left pixel.
        size: side of the picture in pixels.

    Raises:
        UnknownNameError: there is no such region.
        ShapeError: landmarks of another shape.
    """
    points = checked_landmarks(landmarks)
    mask = np.zeros((size * FINE, size * FINE), np.uint8)
    for name in check_regions(names):
        mask = np.maximum(mask, _drawn(name, points, size))
    soft = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), max(0.5, FEATHER * size) * FINE)
    return np.asarray(cv2.resize(soft, (size, size), interpolation=cv2.INTER_AREA))


def edit_mask(only: Iterable[str], keep: Iterable[str], faces: Iterable[np.ndarray], size: int) -> np.ndarray:
    """The mask of an edit: the regions of ``only`` (empty: everywhere) without those of ``keep``; float32 [size, size].

    Args:
        only: names of :data:`REGIONS`.
        keep: names of :data:`REGIONS`.
        faces: landmarks [68, 2] of the face before and after the edit; a region is the union over both.
        size: side of the picture in pixels.

    Raises:
        UnknownNameError: there is no such region.
    """
    only, keep, faces = list(only), list(keep), list(faces)
    everywhere = np.ones((size, size), np.float32)
    shown = np.maximum.reduce([region_mask(only, points, size) for points in faces]) if only else everywhere
    kept = np.maximum.reduce([region_mask(keep, points, size) for points in faces]) if keep else 0 * everywhere
    return np.asarray(shown * (1 - kept), np.float32)


def check_regions(names: Iterable[str]) -> list[str]:
    """Check that all names are regions; returns them as a list.

    Raises:
        UnknownNameError: there is no such region.
    """
    checked = list(names)
    for name in checked:
        if name not in REGIONS:
            raise UnknownNameError("region", name, REGIONS)
    return checked


def drawn_landmarks(pixels: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Landmarks of a generated face, float64 [68, 2]; if none is detected, predicted at the position of ``alignment``.

    Args:
        pixels: uint8 [R, R, 3].
        alignment: of the network.
    """
    faces = find_faces(pixels, tilted=False)
    return faces[0].landmarks if faces else predict_landmarks(pixels, aligned_box(alignment, pixels.shape[:2]))


def _drawn(name: str, points: np.ndarray, size: int) -> np.ndarray:
    """One region with hard edges, uint8 [FINE * size, FINE * size], 0 or 255."""
    if name == "mouth":
        return _filled([_grown(points[MOUTH], 1.35)], size)
    if name == "eyes":
        return _filled([_grown(points[LEFT_EYE], 1.7), _grown(points[RIGHT_EYE], 1.7)], size)
    if name == "brows":
        thickness = 0.12 * _brow_to_nose(points)
        brows = (points[LEFT_BROW], points[RIGHT_BROW])
        return _filled([np.concatenate([brow - thickness, brow + thickness]) for brow in brows], size)
    if name == "nose":
        return _filled([_grown(points[NOSE], 1.25)], size)
    if name == "face":
        return _filled([_face_hull(points, FOREHEAD)], size)
    above = _filled([_upper_half(points, size)], size)
    head = _filled([_grown(_face_hull(points, FOREHEAD), HEAD)], size)
    if name == "hair":
        return head & above & ~_filled([_face_hull(points, FRINGE)], size)
    return ~(head & above | _filled([_grown(_face_hull(points, FOREHEAD), NECK)], size))


def _face_hull(points: np.ndarray, forehead: float) -> np.ndarray:
    """The points of the jaw, the brows, and the brows moved up to the hairline."""
    return np.concatenate([points[JAW], points[BROWS], points[BROWS] - forehead * _brow_to_nose(points)])


def _brow_to_nose(points: np.ndarray) -> np.ndarray:
    """The vector (x, y) from the centre of the brows to the tip of the nose, the face's downward direction."""
    return np.asarray(points[NOSE_TIP] - points[BROWS].mean(axis=0))


def _upper_half(points: np.ndarray, size: int) -> np.ndarray:
    """Corners of the area above the middle of the mouth, in the orientation of the face."""
    down = _brow_to_nose(points)
    down = down / max(1e-6, float(np.hypot(*down))) * 3 * size
    across = np.array([-down[1], down[0]])
    middle = points[MOUTH].mean(axis=0)
    return np.array([middle - across, middle + across, middle + across - down, middle - across - down])


def _grown(points: np.ndarray, factor: float) -> np.ndarray:
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    return np.asarray(middle + factor * (points - middle))


def _filled(polygons: list[np.ndarray], size: int) -> np.ndarray:
    """The filled convex hulls of sets of points."""
    canvas = np.zeros((size * FINE, size * FINE), np.uint8)
    for points in polygons:
        fine = ((points + 0.5) * FINE - 0.5).astype(np.float32)
        hull = cv2.convexHull(fine).round().clip(-(2**14), 2**14).astype(np.int32)
        cv2.fillConvexPoly(canvas, hull, 255)
    return canvas
