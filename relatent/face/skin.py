"""Extends a change of the face's colour smoothly to the skin around it (ears, neck, scalp)."""

from __future__ import annotations

import cv2
import numpy as np

from relatent.face.flow import blurred, largest, pixel_grid, scaled, smooth_step, spread, square_sum
from relatent.face.paste import photo_window, to_window
from relatent.face.sampling import glance, sum_like

SIDE = 256  # px; side of the square in which skin is searched
REACH = 2.0  # its side relative to the face's crop
NEAR, FAR = 0.045, 0.12  # distances over which the change is averaged near the face and further out, relative to SIDE
EVEN = 0.1  # distance up to which the change is applied fully, relative to the crop
BESIDE, BELOW = 0.3, 0.5  # distances at which it ends: ears and scalp lie closer to a face than the end of its neck
CHIN = 0.4  # share of the face's height, from its lower end, over which the one becomes the other
LEAST_SPREAD = (6.0, 3.0, 3.0)  # of L, a, b; lower limit, so that the neck of an evenly lit face is included
TOLERANCE = (3.5, 2.2, 2.2)  # in robust standard deviations of the face's L, a, b
LEAST_CHANGE = 0.5  # levels; smaller changes are ignored


def run_out(
    pasted: np.ndarray,
    photo: np.ndarray,
    change: np.ndarray,
    shown: np.ndarray,
    face_to_photo: np.ndarray,
    mask: np.ndarray | None = None,
) -> None:
    """Extend a change of colour from a face to the skin around it, in place.

    Skin is the area near the face that has its colours (L*a*b*, by median and spread). If there is none, or the change
    has no low frequencies, nothing is changed.

    Args:
        pasted: uint8 [H, W, 3], or float32 from 0 to 255; changed.
        photo: uint8 [H, W, 3], without changes, in which skin is searched.
        change: float32 [S, S, 3], added to the face, in levels.
        shown: [S, S] from 0 to 1, where it has been added already.
        face_to_photo: float64 [3, 3], for pictures of S pixels.
        mask: [S, S] from 0 to 1, where changes are allowed; its edge values are continued outside.
    """
    size = len(change)
    square_to_face = _enlarged(size)
    there = _at(shown, square_to_face)
    low = _low_frequencies(_at(change, square_to_face), there)
    square_to_photo = face_to_photo @ square_to_face
    weight = _skin(glance(photo, square_to_photo, SIDE), there) * (1 - there)
    weight *= _nearness(there) * _inside()
    if mask is not None:
        weight *= _at(mask, square_to_face, cv2.BORDER_REPLICATE)
    low = scaled(low, blurred(weight, 0.6))
    strongest = largest(low)
    rows, columns = (np.flatnonzero(strongest.max(axis=axis) > LEAST_CHANGE) for axis in (1, 0))
    if not len(rows):
        return
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    part_to_photo = square_to_photo @ np.array([[1.0, 0, left], [0, 1, top], [0, 0, 1]])
    window = photo_window(part_to_photo, (bottom - top, right - left), photo.shape[:2])
    part = np.ascontiguousarray(low[top:bottom, left:right])
    added = to_window(part, part_to_photo, window, cv2.INTER_LINEAR)
    pasted[window] = sum_like(pasted, pasted[window], added)


def _enlarged(size: int) -> np.ndarray:
    """The matrix from pixels of a square REACH times as large as the crop to those of the crop."""
    step = REACH * size / SIDE
    offset = (size - 1) / 2 - step * (SIDE - 1) / 2
    return np.array([[step, 0, offset], [0, step, offset], [0, 0, 1.0]])


def _at(picture: np.ndarray, square_to_face: np.ndarray, border: int = cv2.BORDER_CONSTANT) -> np.ndarray:
    """Resample a picture of the crop to the larger square."""
    smooth = cv2.GaussianBlur(picture, (0, 0), max(0.3, 0.5 * float(square_to_face[0, 0])))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(smooth, square_to_face[:2], (SIDE, SIDE), flags=flags, borderMode=border))


def _low_frequencies(change: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The change around the face, averaged over a distance that increases further out."""
    near, far = spread(change, there, NEAR * SIDE), spread(change, there, FAR * SIDE)
    return far + scaled(near - far, np.clip(3 * blurred(there, NEAR * SIDE), 0, 1))


def _skin(pixels: np.ndarray, there: np.ndarray) -> np.ndarray:
    """How much each pixel has the colours of the face, 0 to 1."""
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB).astype(np.float32) * np.array((100 / 255, 1, 1), np.float32)
    own = lab[there > 0.9]
    if not len(own):
        return np.zeros(there.shape, np.float32)
    middle = np.median(own, axis=0)
    deviation = np.maximum(1.4826 * np.median(np.abs(own - middle), axis=0), LEAST_SPREAD) * TOLERANCE
    distance = square_sum((lab - middle) * (1 / deviation).astype(np.float32))
    return np.asarray(np.exp(-0.5 * distance**1.5), np.float32)


def _nearness(there: np.ndarray) -> np.ndarray:
    """1 beside the face, 0 far from it. The square is aligned with the face, so that its rows lead down the neck."""
    rows = np.flatnonzero(there.max(axis=1) > 0.5)
    if not len(rows):
        return np.zeros_like(there)
    height = rows[-1] + 1 - rows[0]
    _, y = pixel_grid((SIDE, SIDE))
    faded = BESIDE + (BELOW - BESIDE) * smooth_step((y - rows[-1]) / (CHIN * height) + 1)
    away = cv2.distanceTransform((there < 0.5).astype(np.uint8), cv2.DIST_L2, 5) * (REACH / SIDE)
    return smooth_step((faded - away) / (faded - EVEN))


def _inside() -> np.ndarray:
    """A window that falls to 0 at the edge of the square, so that no edge is visible."""
    x, y = pixel_grid((SIDE, SIDE))
    edge = np.minimum(np.minimum(x, SIDE - 1 - x), np.minimum(y, SIDE - 1 - y))
    return smooth_step(edge / (0.05 * SIDE))
