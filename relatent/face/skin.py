"""Where a face's change of colour ends: not at the face's outline, but smoothly, over ears, neck and scalp."""

from __future__ import annotations

import cv2
import numpy as np

from relatent.face.flow import blurred, pixel_grid, smooth_step, spread
from relatent.face.paste import photo_window, to_window
from relatent.face.sampling import glance

SIDE = 256  # px of the square that is looked at
REACH = 2.0  # its side in sides of the face's crop
NEAR, FAR = 0.045, 0.12  # of that square: how far the change is averaged beside the face, and beyond
EVEN, FADED = 0.1, 0.5  # sides of the crop: as far the whole change runs, and at the end none of it
LEAST_SPREAD = (6.0, 3.0, 3.0)  # L, a, b; a face lit evenly must not leave its neck out
TOLERANCE = (3.5, 2.2, 2.2)  # in robust standard deviations of the face's own L, a, b
LEAST_CHANGE = 0.5  # levels; less is not worth the work


def run_out(
    pasted: np.ndarray,
    photo: np.ndarray,
    change: np.ndarray,
    shown: np.ndarray,
    face_to_photo: np.ndarray,
    mask: np.ndarray | None = None,
) -> None:
    """Carry a change of colour on from a face over the skin around it, in place.

    Skin is what has the colours of the face itself (L*a*b*, by median and spread), near enough to it. Where nothing
    has the face's colours, or the change has no low frequencies, nothing happens.

    Args:
        pasted: uint8 [H, W, 3], changed.
        photo: uint8 [H, W, 3], as it was: it tells what skin is.
        change: float32 [S, S, 3], what is added to the face, in levels.
        shown: [S, S] from 0 to 1, where it is added already.
        face_to_photo: float64 [3, 3], for pictures of S pixels.
        mask: [S, S] from 0 to 1, where anything may change; its edge is continued outside.
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
    low *= blurred(weight, 0.6)[..., None]
    rows, columns = (np.flatnonzero(np.abs(low).max(axis=(axis, 2)) > LEAST_CHANGE) for axis in (1, 0))
    if not len(rows):
        return
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    part_to_photo = square_to_photo @ np.array([[1.0, 0, left], [0, 1, top], [0, 0, 1]])
    window = photo_window(part_to_photo, (bottom - top, right - left), photo.shape[:2])
    part = np.ascontiguousarray(low[top:bottom, left:right])
    added = pasted[window] + to_window(part, part_to_photo, window, cv2.INTER_LINEAR)
    pasted[window] = np.rint(added).clip(0, 255).astype(np.uint8)


def _enlarged(size: int) -> np.ndarray:
    """From the pixels of a square REACH times the crop, to those of the crop."""
    step = REACH * size / SIDE
    offset = (size - 1) / 2 - step * (SIDE - 1) / 2
    return np.array([[step, 0, offset], [0, step, offset], [0, 0, 1.0]])


def _at(picture: np.ndarray, square_to_face: np.ndarray, border: int = cv2.BORDER_CONSTANT) -> np.ndarray:
    """A picture of the crop in the larger square."""
    smooth = cv2.GaussianBlur(picture, (0, 0), max(0.3, 0.5 * float(square_to_face[0, 0])))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(smooth, square_to_face[:2], (SIDE, SIDE), flags=flags, borderMode=border))


def _low_frequencies(change: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The change beside the face: of what lies next to it, and further out of more of it."""
    near, far = spread(change, there, NEAR * SIDE), spread(change, there, FAR * SIDE)
    share = np.clip(3 * blurred(there, NEAR * SIDE), 0, 1)[..., None]
    return near * share + far * (1 - share)


def _skin(pixels: np.ndarray, there: np.ndarray) -> np.ndarray:
    """How much each pixel has the colours of the face, 0 to 1."""
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB).astype(np.float32) * (100 / 255, 1, 1)
    own = lab[there > 0.9]
    if not len(own):
        return np.zeros(there.shape, np.float32)
    middle = np.median(own, axis=0)
    deviation = np.maximum(1.4826 * np.median(np.abs(own - middle), axis=0), LEAST_SPREAD) * TOLERANCE
    distance = np.square((lab - middle) / deviation).sum(axis=2)
    return np.asarray(np.exp(-0.5 * distance**1.5), np.float32)


def _nearness(there: np.ndarray) -> np.ndarray:
    """1 beside the face, 0 far from it."""
    away = cv2.distanceTransform((there < 0.5).astype(np.uint8), cv2.DIST_L2, 5) * (REACH / SIDE)
    return smooth_step((FADED - away) / (FADED - EVEN))


def _inside() -> np.ndarray:
    """0 at the square's own edge, so that none of it is seen."""
    x, y = pixel_grid((SIDE, SIDE))
    edge = np.minimum(np.minimum(x, SIDE - 1 - x), np.minimum(y, SIDE - 1 - y))
    return smooth_step(edge / (0.05 * SIDE))
