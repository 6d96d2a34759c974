"""Extracts the fine texture of a photo without its lines, for areas that a network has drawn too smoothly."""

from __future__ import annotations

import cv2
import numpy as np

from relatent.face.flow import blurred, luminance
from relatent.face.grain import TO_DEVIATION, grain_like

FINEST, COARSEST = 0.8, 4.0  # px, standard deviations: what is finer than this is texture
PIXEL_SHARE = 0.5  # of the network's pixel: coarser structure is in its drawing
STRONG = 1.6  # times the face's usual; what is stronger is a line, and grain takes its place
ENOUGH, SAMPLED = 64, 20_000  # pixels to measure


def with_texture_only(pixels: np.ndarray, share: np.ndarray, where: np.ndarray, pixel: float) -> np.ndarray:
    """Reduce a picture to its texture: the fine structure of skin and beard, with grain in place of the lines of lids,
    lips and teeth.

    Grain is as strong as is needed to keep the energy of the fine structure, also where only a share is taken away.

    Args:
        pixels: float32 [h, w, 3] from 0 to 255.
        share: [h, w] from 0 to 1, how far the picture is replaced by its texture, which is around 0.
        where: bool [h, w], the pixels from which the usual strength of texture is computed.
        pixel: side of a pixel of the network, in pixels of the photo.

    Returns:
        float32 [h, w, 3].
    """
    bright = luminance(pixels)
    sigma = min(max(FINEST, PIXEL_SHARE * pixel), COARSEST)
    fine = bright - blurred(bright, sigma)
    known = np.abs(fine[where] if where.sum() >= ENOUGH else fine).ravel()
    known = known[:: max(1, len(known) // SAMPLED)]
    usual = max(1e-3, TO_DEVIATION * float(np.median(known)))
    strength = blurred(np.square(fine), 1.5 * sigma) / (STRONG * usual) ** 2
    kept = 1 / (1 + np.square(strength))
    own = 1 - share * (1 - kept)  # amplitude of the fine structure that stays
    texture = share * kept * fine + np.sqrt(1 - np.square(own)) * grain_like(pixels, where)
    left = cv2.multiply(pixels, cv2.merge([1 - share] * 3))
    return np.asarray(cv2.add(left, cv2.merge([texture] * 3)), np.float32)
