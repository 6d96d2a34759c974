"""Extracts the fine texture of a photo without its lines, for areas that a network has drawn too smoothly."""

from __future__ import annotations

import numpy as np

from relatent.face.flow import blurred, luminance
from relatent.face.grain import TO_DEVIATION, grain_like

FINEST, COARSEST = 0.8, 4.0  # px, standard deviations: what is finer than this is texture
PIXEL_SHARE = 0.5  # of the network's pixel: coarser structure is in its drawing
STRONG = 1.6  # times the face's usual; what is stronger is a line, and grain takes its place
ENOUGH, SAMPLED = 64, 20_000  # pixels to measure


def texture_of(pixels: np.ndarray, where: np.ndarray, pixel: float) -> np.ndarray:
    """The fine structure of skin and beard, with grain in place of the lines of lids, lips and teeth.

    Args:
        pixels: float32 [h, w, 3] from 0 to 255.
        where: bool [h, w], the pixels from which the median is computed.
        pixel: side of a pixel of the network, in pixels of the photo.

    Returns:
        float32 [h, w], around 0, for all three channels.
    """
    bright = luminance(pixels)
    sigma = min(max(FINEST, PIXEL_SHARE * pixel), COARSEST)
    fine = bright - blurred(bright, sigma)
    known = np.abs(fine[where] if where.sum() >= ENOUGH else fine).ravel()
    known = known[:: max(1, len(known) // SAMPLED)]
    usual = max(1e-3, TO_DEVIATION * float(np.median(known)))
    strength = blurred(np.square(fine), 1.5 * sigma) / (STRONG * usual) ** 2
    kept = 1 / (1 + np.square(strength))
    return np.asarray(kept * fine + np.sqrt(1 - np.square(kept)) * grain_like(pixels, where), np.float32)
