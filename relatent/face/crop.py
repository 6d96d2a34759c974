"""Crops of faces at the resolution of their photo, compressed to be stored with the latent.

Convention: ``face_to_photo`` is the matrix of :mod:`relatent.face.align` for a face of R x R pixels; a crop shows
exactly the same square with S x S pixels.
"""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image

from relatent.core.errors import UnreadablePhotoError
from relatent.core.images import read_photo
from relatent.face.sampling import sample_square

STEP = 64  # px; sides of crops are multiples of it
LARGEST = 1024  # px a side of a crop that is packed
QUALITY = 92  # of WebP: some 150 kB for a portrait of LARGEST pixels
FORMAT = "WEBP"


def own_side(face_to_photo: np.ndarray, size: int, most: int | None = None) -> int:
    """The side in pixels at which a crop has the full resolution of the photo.

    Args:
        face_to_photo: for a face of ``size`` pixels.
        size: of the network's pictures; the lower limit.
        most: the upper limit; at least ``size``.

    Returns:
        The face's side in the photo, rounded up to a multiple of STEP, within the limits.
    """
    own = math.ceil(round(size * math.hypot(*face_to_photo[:2, 0]), 3) / STEP) * STEP
    return max(size, own if most is None else min(own, most))


def resized_square(size: int, other: int) -> np.ndarray:
    """The matrix from pixels of a square of side ``size`` to those of the same square at ``other``, float64 [3, 3]."""
    step = other / size
    return np.array([[step, 0, (step - 1) / 2], [0, step, (step - 1) / 2], [0, 0, 1]])


def cut_crop(photo: np.ndarray, face_to_photo: np.ndarray, size: int, side: int) -> np.ndarray:
    """Crop the face's square from a photo, uint8 [side, side, 3], with reflection padding.

    Args:
        photo: uint8 [H, W, 3].
        face_to_photo: for a face of ``size`` pixels.
        size: see above.
        side: of the crop in pixels.
    """
    return sample_square(photo, face_to_photo @ resized_square(side, size), side)


def pack_crop(photo: np.ndarray, face_to_photo: np.ndarray, size: int) -> bytes:
    """The face's square of a photo, uint8 [H, W, 3], with as many pixels as it has, at most LARGEST, as a WebP file."""
    crop = cut_crop(photo, face_to_photo, size, own_side(face_to_photo, size, LARGEST))
    buffer = io.BytesIO()
    Image.fromarray(crop).save(buffer, FORMAT, quality=QUALITY)
    return buffer.getvalue()


def unpack_crop(packed: bytes) -> np.ndarray:
    """The crop that :func:`pack_crop` packed, uint8 [S, S, 3].

    Raises:
        UnreadablePhotoError: damaged, larger than LARGEST, or not square.
    """
    crop = read_photo(packed, "the face kept with the latent", max_pixels=LARGEST**2).pixels
    height, width = crop.shape[:2]
    if height != width:
        raise UnreadablePhotoError(
            f"the face kept with the latent has {width} x {height} pixels; expected a square. Invert the photo again."
        )
    return crop
