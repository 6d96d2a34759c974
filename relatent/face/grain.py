"""What a photo has of noise and fine texture, made anew for places that a network has drawn too smoothly."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from relatent.face.flow import LUMINANCE, blurred

TILE = 512  # px; the noise repeats after this
BANDS = (0.8, 1.6)  # px, standard deviations: the photo's two finest octaves
TO_DEVIATION = 1.4826  # from the median of absolute values, if they are normal
ENOUGH = 64  # pixels to measure


def grain_like(pixels: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Noise as strong as the photo's own fine structure, octave by octave.

    The median of each octave is what counts: lashes and wrinkles are few and strong, grain is everywhere.

    Args:
        pixels: [h, w, 3] from 0 to 255.
        where: bool [h, w], the pixels to measure.

    Returns:
        float32 [h, w], to be added to all three channels; the same for the same input.
    """
    height, width = where.shape
    rest = pixels.astype(np.float32) @ LUMINANCE
    here = where if where.sum() >= ENOUGH else np.ones_like(where)
    total = np.zeros((height, width), np.float32)
    for sigma, noise in zip(BANDS, _noise_bands(), strict=True):
        low = blurred(rest, sigma)
        deviation = TO_DEVIATION * float(np.median(np.abs(rest - low)[here]))
        total += deviation * np.tile(noise, (-(-height // TILE), -(-width // TILE)))[:height, :width]
        rest = low
    return total


@cache
def _noise_bands() -> tuple[np.ndarray, ...]:
    """Normal noise in the octaves of BANDS, each with deviation 1; float32 [TILE, TILE], without seams."""
    rest = np.random.default_rng(0).standard_normal((TILE, TILE)).astype(np.float32)
    bands = []
    for sigma in BANDS:
        margin = int(4 * sigma) + 1
        wrapped = cv2.copyMakeBorder(rest, margin, margin, margin, margin, cv2.BORDER_WRAP)
        low = blurred(wrapped, sigma)[margin:-margin, margin:-margin]
        bands.append((rest - low) / (rest - low).std())
        rest = low
    return tuple(bands)
