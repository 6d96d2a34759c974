"""Synthesises noise like that of a photo, for areas that a network has drawn too smoothly."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from relatent.face.flow import blurred, luminance

TILE = 512  # px; the noise repeats after this
BANDS = (0.8, 1.6)  # px, standard deviations: the photo's two finest octaves
TO_DEVIATION = 1.4826  # from the median of absolute values, if they are normal
ENOUGH = 64  # pixels needed for a measurement
LOOKED_AT = 320  # px; side of the area that is measured


def grain_like(pixels: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Noise with the strength of the photo's own noise in each octave.

    The strength is the median, which ignores sparse strong structures such as lashes and wrinkles.

    Args:
        pixels: [h, w, 3] from 0 to 255.
        where: bool [h, w], the pixels to measure.

    Returns:
        float32 [h, w], to be added to all three channels; deterministic.
    """
    height, width = where.shape
    part = _middle(where)
    rest, here = luminance(pixels[part].astype(np.float32)), where[part]
    total = np.zeros((height, width), np.float32)
    for sigma, noise in zip(BANDS, _noise_bands(), strict=True):
        low = blurred(rest, sigma)
        octave = np.abs(rest - low)
        deviation = TO_DEVIATION * float(np.median(octave[here] if here.sum() >= ENOUGH else octave))
        total += deviation * np.tile(noise, (-(-height // TILE), -(-width // TILE)))[:height, :width]
        rest = low
    return total


def _middle(where: np.ndarray) -> tuple[slice, slice]:
    """The window of at most LOOKED_AT pixels per side around the centre of ``where``."""
    rows, columns = (np.flatnonzero(where.any(axis=axis)) for axis in (1, 0))
    spans = []
    for places, length in zip((rows, columns), where.shape, strict=True):
        middle = int(places.mean()) if len(places) else length // 2
        first = max(0, min(middle - LOOKED_AT // 2, length - LOOKED_AT))
        spans.append(slice(first, first + LOOKED_AT))
    return spans[0], spans[1]


@cache
def _noise_bands() -> tuple[np.ndarray, ...]:
    """Normal noise in the octaves of BANDS, each with standard deviation 1; float32 [TILE, TILE], seamless."""
    rest = np.random.default_rng(0).standard_normal((TILE, TILE)).astype(np.float32)
    bands = []
    for sigma in BANDS:
        margin = int(4 * sigma) + 1
        wrapped = cv2.copyMakeBorder(rest, margin, margin, margin, margin, cv2.BORDER_WRAP)
        low = blurred(wrapped, sigma)[margin:-margin, margin:-margin]
        bands.append((rest - low) / (rest - low).std())
        rest = low
    return tuple(bands)
