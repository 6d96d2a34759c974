"""Padding of face crops outside the photo: reflection, with increasing blur, fading to one colour.

Generators have not been trained on hard edges and black corners, so an inversion would distort the latent to draw them.
FFHQ was padded in a similar way. The photo's own pixels are not changed here.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from relatent.face.sampling import map_points

# All relative to the side of the square.
BLURS = ((0.01, 0.05), (0.03, 0.15))  # standard deviation, and distance from the photo at which it is fully applied
PLAIN_DISTANCE = 0.5  # distance at which only the median colour is left
BORDER = 0.1  # width of the photo's border from which the median is computed


def soften_outside(square: np.ndarray, square_to_photo: np.ndarray, photo_size: tuple[int, int]) -> np.ndarray:
    """Blur and fade the reflected part of a square from `relatent.face.sampling.sample_square`.

    Args:
        square: uint8 [R, R, 3].
        square_to_photo: float64 [3, 3].
        photo_size: (height, width) of the photo.

    Returns:
        uint8 [R, R, 3]; equal to ``square`` for pixels whose centre lies in the photo.
    """
    size = len(square)
    distance = outside_distance(square_to_photo, size, photo_size)  # square pixels, negative inside
    if distance.max() <= 0:
        return square
    near = (distance <= 0) & (distance > -BORDER * size)
    median = np.median(square[near] if near.any() else square.reshape(-1, 3), axis=0)
    share = np.clip(distance / size, 0, None).astype(np.float32)[..., None]  # of the side, 0 inside
    padded = square.astype(np.float32)
    for deviation, full in BLURS:
        blurred = cv2.GaussianBlur(padded, (0, 0), deviation * size, borderType=cv2.BORDER_REFLECT)
        padded += (blurred - padded) * _smooth(share / full)
    padded += (median.astype(np.float32) - padded) * _smooth(share / PLAIN_DISTANCE)
    return np.asarray(padded.round().clip(0, 255).astype(np.uint8))


def outside_distance(square_to_photo: np.ndarray, size: int, photo_size: tuple[int, int]) -> np.ndarray:
    """Signed distance of each pixel centre of a square to the photo, float64 [size, size], in pixels of the square.

    Convention:
        the photo extends from -0.5 to width - 0.5 and height - 0.5; values inside are negative.
    """
    y, x = np.mgrid[:size, :size]
    points = map_points(square_to_photo, np.stack([x.ravel(), y.ravel()], axis=1))
    height, width = photo_size
    half = np.array([width, height]) / 2
    beyond = np.abs(points - (half - 0.5)) - half  # [size * size, 2], past the nearer edge of each axis
    outside = np.hypot(*np.clip(beyond, 0, None).T)
    depth = np.minimum(beyond.max(axis=1), 0)
    return (outside + depth).reshape(size, size) / math.hypot(*square_to_photo[:2, 0])


def _smooth(t: np.ndarray) -> np.ndarray:
    """The smoothstep function, whose zero slope at both ends avoids a visible edge where the blend begins."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)
