"""What of a photo counts: masks that keep occluders and background out of the loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from relatent.core.alignment import Alignment
from relatent.core.errors import PhotoError
from relatent.core.images import Photo, read_photo, square
from relatent.face import AlignedFace
from relatent.face.regions import drawn_landmarks, region_mask
from relatent.face.sampling import sample_square

AUTO = "auto"
SMALLEST = 0.01  # share of the face that must be left to compare


def mask_of(choice: str | Path, aligned: AlignedFace, photo: Photo, alignment: Alignment) -> Tensor:
    """The mask of one aligned face, float32 [1, 1, R, R]: 1 where the photo counts, 0 where it does not.

    Args:
        choice: "auto" for the face's hull by its landmarks, or a picture: white counts, black does not. It has the
            photo's own size, or is square and lies on the aligned face.
        aligned: the face.
        photo: where it was found.
        alignment: the network's, which says where the face is if no landmarks were looked for.

    Raises:
        PhotoError: a picture of another shape, or one that leaves next to nothing of the face.
        UnreadablePhotoError: no picture.
    """
    size = len(aligned.image)
    if choice == AUTO:
        points = drawn_landmarks(aligned.image, alignment) if aligned.landmarks is None else aligned.landmarks
        mask = region_mask(["face"], points, size)
    else:
        mask = _drawn_mask(Path(choice), aligned, photo.pixels.shape[:2], size)
    if mask.mean() < SMALLEST:
        raise PhotoError(
            f"the mask {choice} leaves {mask.mean():.1%} of the face in {photo.name}; expected white where the photo "
            "counts. Invert its colours, or draw it larger."
        )
    return torch.from_numpy(np.ascontiguousarray(mask, np.float32))[None, None]


def _drawn_mask(path: Path, aligned: AlignedFace, photo_size: tuple[int, ...], size: int) -> np.ndarray:
    pixels = read_photo(path).pixels
    if pixels.shape[:2] == photo_size:
        seen = sample_square(pixels, aligned.face_to_photo, size)
    elif pixels.shape[0] == pixels.shape[1]:
        seen = square(pixels, size)
    else:
        (height, width), (high, wide) = pixels.shape[:2], photo_size
        raise PhotoError(
            f"the mask {path} is {width} x {height}; expected the photo's size, {wide} x {high}, or a square that "
            "lies on the aligned face. Draw it over the photo."
        )
    return np.asarray(seen.mean(axis=2, dtype=np.float32) / 255)
