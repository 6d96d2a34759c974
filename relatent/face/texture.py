"""Extracts the fine texture of a photo without its lines, for areas that a network has drawn too smoothly."""

from __future__ import annotations

import numpy as np

from relatent.face.flow import LUMINANCE, blurred
from relatent.face.grain import TO_DEVIATION, grain_like

FINEST, COARSEST = 0.8, 4.0  # px; limits of the standard deviation below which structure counts as texture
PIXEL_SHARE = 0.5  # that standard deviation relative to the network's pixel; coarser structure is drawn by the network
STRONG = 1.6  # relative to the face's median; stronger structure counts as a line, and is replaced by grain
ENOUGH = 64  # pixels needed for a measurement


def texture_of(pixels: np.ndarray, where: np.ndarray, pixel: float) -> np.ndarray:
    """The fine structure of skin and beard, with grain in place of the lines of lids, lips and teeth.

    Args:
        pixels: float32 [h, w, 3] from 0 to 255.
        where: bool [h, w], the pixels from which the median is computed.
        pixel: side of a pixel of the network, in pixels of the photo.

    Returns:
        float32 [h, w], around 0, for all three channels.
    """
    bright = pixels @ LUMINANCE
    sigma = min(max(FINEST, PIXEL_SHARE * pixel), COARSEST)
    fine = bright - blurred(bright, sigma)
    known = np.abs(fine[where] if where.sum() >= ENOUGH else fine)
    usual = max(1e-3, TO_DEVIATION * float(np.median(known)))
    strength = blurred(np.square(fine), 1.5 * sigma) / (STRONG * usual) ** 2
    kept = 1 / (1 + np.square(strength))
    return np.asarray(kept * fine + np.sqrt(1 - np.square(kept)) * grain_like(pixels, where), np.float32)
