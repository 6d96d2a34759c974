"""Optical flow between two drawn faces, and warping of pictures by it.

Convention in this module:
    a flow is float32 [h, w, 2], (x, y) in pixels. ``moved(before, flow)`` looks like ``after``: pixel p of the result
    is ``before`` at p + flow(p). A face that has moved 3 pixels to the right has a flow of (-3, 0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, of RGB
SPREAD = (
    50.0  # levels; luminance is stretched to this standard deviation, so that dark and light skin are treated alike
)
MOST_GAIN = 5.0
ALPHA, ITERATIONS = 60.0, 15  # of the variational refinement: skin moves as a whole, OpenCV's 20 lets it wobble
FINEST_SCALE = 1  # half the resolution: drawn faces hold nothing finer
TOLERANCE = 0.02  # of the side; where there and back differ by more, the motion is not to be believed
DIFFERENT = 1.5  # levels; below it two pictures count as less and less different
COARSE_BLUR = 3.0  # px; standard deviation that is left of a wide blur when pixels are put together
FLOW_BLUR = 0.012  # of the side, standard deviation of the final smoothing


@dataclass(frozen=True)
class Motion:
    """The motion between two pictures of [h, w].

    Attributes:
        flow: from ``after`` to ``before``, [h, w, 2].
        back: from ``before`` to ``after``, [h, w, 2].
        trust: consistency of ``flow`` and ``back``, 0 to 1, [h, w], at the pixels of ``after``.
        trust_back: the same at the pixels of ``before``.
        changed: 0 where the pictures are equal, 1 where they clearly differ, [h, w].
    """

    flow: np.ndarray
    back: np.ndarray
    trust: np.ndarray
    trust_back: np.ndarray
    changed: np.ndarray


def motion_between(after: np.ndarray, before: np.ndarray, where: np.ndarray) -> Motion:
    """Forward and backward optical flow by DIS (Kroeger et al. 2016).

    Args:
        after: float32 [h, w, 3] from 0 to 255.
        before: of the same shape.
        where: [h, w] from 0 to 1, weight of each pixel in the normalisation of contrast.
    """
    bright, dark = _stretched(luminance(after), luminance(before), where)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(FINEST_SCALE)
    dis.setVariationalRefinementAlpha(ALPHA)
    dis.setVariationalRefinementIterations(ITERATIONS)
    flow, back = dis.calc(bright, dark, None), dis.calc(dark, bright, None)
    difference = largest(after - before)
    near = cv2.dilate(difference, np.ones((9, 9), np.uint8))
    return Motion(
        flow=flow,
        back=back,
        trust=_agreement(flow, back),
        trust_back=_agreement(back, flow),
        changed=smooth_step(blurred(near, len(after) / 128) / DIFFERENT),
    )


def moved(picture: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Warp ``picture`` [h, w] or [h, w, C] by a flow [h, w, 2], bilinearly, with edge padding."""
    x, y = pixel_grid(flow.shape[:2])
    return np.asarray(
        cv2.remap(picture, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )


def smoothed_flow(motion: Motion, where: np.ndarray) -> np.ndarray:
    """The flow inside ``where``, with unreliable parts filled from their surroundings, and 0 where nothing has changed.

    Args:
        motion: of :func:`motion_between`.
        where: [h, w] from 0 to 1, at the pixels of ``after``.
    """
    weight = (motion.trust * motion.changed + 1e-3) * where + 1e-5
    return scaled(spread(motion.flow, weight, FLOW_BLUR * len(where)), motion.changed)


def carried_points(points: np.ndarray, motion: Motion, inside: np.ndarray) -> np.ndarray:
    """Move points of ``before`` to their positions in ``after``, by the flow near each point inside of a shape.

    Args:
        points: [N, 2], (x, y) in pixels of ``before``.
        motion: of :func:`motion_between`.
        inside: [h, w] from 0 to 1, at the pixels of ``before``: weight of the motion.

    Returns:
        float64 [N, 2].
    """
    weight = (motion.trust_back * motion.changed + 1e-3) * inside + 1e-5
    back = spread(motion.back, weight, 2 * FLOW_BLUR * len(inside))
    x, y = (np.ascontiguousarray(one, np.float32)[None] for one in points.T)
    steps = cv2.remap(back, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(points + steps[0], np.float64)


def blurred(values: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur; what lies outside is the edge, continued. A wide one is computed on fewer pixels."""
    step = int(sigma / COARSE_BLUR)
    if step < 2 or min(values.shape[:2]) < 8 * step:
        return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))
    height, width = values.shape[:2]
    few = cv2.resize(values, (-(-width // step), -(-height // step)), interpolation=cv2.INTER_AREA)
    few = cv2.GaussianBlur(few, (0, 0), sigma / step, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(few, (width, height), interpolation=cv2.INTER_LINEAR))


def luminance(pixels: np.ndarray) -> np.ndarray:
    """float32 [h, w, 3] as brightness, float32 [h, w]."""
    return np.asarray(cv2.transform(pixels, LUMINANCE[None]))


def largest(values: np.ndarray) -> np.ndarray:
    """The largest absolute value over the channels of [h, w, C], float32 [h, w]; NumPy is slow over short axes."""
    channels = [np.abs(one) for one in cv2.split(values)]
    for other in channels[1:]:
        cv2.max(channels[0], other, dst=channels[0])
    return np.asarray(channels[0])


def spread(values: np.ndarray, weight: np.ndarray, sigma: float) -> np.ndarray:
    """Weighted Gaussian mean of ``values`` [h, w] or [h, w, C], which fills areas of low ``weight`` [h, w]."""
    return scaled(blurred(scaled(values, weight), sigma), 1 / (blurred(weight, sigma) + 1e-9))


def scaled(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """``values`` [h, w] or [h, w, C] times ``weight`` [h, w], float32; NumPy is slow over short axes."""
    channels = 1 if values.ndim == 2 else values.shape[2]
    return np.asarray(cv2.multiply(values, cv2.merge([weight] * channels), dtype=cv2.CV_32F))


def square_sum(values: np.ndarray) -> np.ndarray:
    """The sum of squares over the channels of [h, w, C], float32 [h, w]; NumPy is slow over short axes."""
    return np.asarray(cv2.transform(values * values, np.ones((1, values.shape[2]), np.float32)))


def smooth_step(x: np.ndarray) -> np.ndarray:
    """The smoothstep function: 0 below 0, 1 above 1, with zero slope at both ends."""
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x), np.float32)


def pixel_grid(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The x and y coordinates of pixels, float32 [1, w] and [h, 1]."""
    return np.arange(size[1], dtype=np.float32)[None], np.arange(size[0], dtype=np.float32)[:, None]


def _stretched(after: np.ndarray, before: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two luminances as uint8, scaled by the same factor."""
    weight = where + 0.05
    mean = float((before * weight).sum() / weight.sum())
    deviation = math.sqrt(float((np.square(before - mean) * weight).sum() / weight.sum()))
    gain = min(MOST_GAIN, SPREAD / max(deviation, 1.0))
    first, second = (np.clip(128 + gain * (one - mean), 0, 255).astype(np.uint8) for one in (after, before))
    return first, second


def _agreement(there: np.ndarray, back: np.ndarray) -> np.ndarray:
    """exp(-(d / tolerance)^2), where d is the error of forward and backward flow combined."""
    off = there + moved(back, there)
    return np.asarray(np.exp(-square_sum(off) / (TOLERANCE * len(there)) ** 2), np.float32)
