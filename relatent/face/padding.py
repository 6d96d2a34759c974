"""What a face crop shows outside the photo: its mirror image, blurred further out, fading to one colour.

A hard edge or a black corner is a shape no face network has seen, and it would spend its latent on it.
FFHQ itself was padded in this manner; the photo's own pixels are left untouched here.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from relatent.face.sampling import map_points

# Shares of the square's side. Each blur has taken over fully at its own distance from the photo's edge.
BLURS = ((0.01, 0.05), (0.03, 0.15))  # (standard deviation, distance)
PLAIN_DISTANCE = 0.5  # where only the border's median colour is left
BORDER = 0.1  # depth of the photo's border whose median is taken


def soften_outside(square: np.ndarray, square_to_photo: np.ndarray, photo_size: tuple[int, int]) -> np.ndarray:
    """Blur and fade the mirrored part of a square from `relatent.face.sampling.sample_square`.

    Args:
        square: uint8 [R, R, 3].
        square_to_photo: float64 [3, 3].
        photo_size: (height, width) of the photo.

    Returns:
        uint8 [R, R, 3]; equal to ``square`` wherever a pixel's centre lies in the photo.
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
    """How far each pixel centre of a square lies outside the photo, float64 [size, size], in square pixels.

    Convention:
        the photo reaches from -0.5 to width - 0.5 and height - 0.5; negative values are the depth inside.
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
    """0 below 0, 1 above 1, level at both ends, so that no edge shows where the blend begins."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)
