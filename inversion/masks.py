"""Masks that exclude parts of a photo, such as occlusions and background, from the loss."""

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
SMALLEST = 0.01  # smallest share of the crop that a mask must keep


def mask_of(choice: str | Path, aligned: AlignedFace, photo: Photo, alignment: Alignment) -> Tensor:
    """The mask of one aligned face, float32 [1, 1, R, R]: weight of each pixel in the loss, from 0 to 1.

    Args:
        choice: "auto" for the convex hull of the landmarks, or a picture: white is 1, black is 0. The picture has the
            size of the photo, or is square and covers the aligned face.
        aligned: the face.
        photo: the photo that it was cropped from.
        alignment: the network's, used to place the hull if the face has no landmarks.

    Raises:
        PhotoError: a picture of another shape, or one that keeps less than 1% of the crop.
        UnreadablePhotoError: the file is not a picture.
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
        crop = sample_square(pixels, aligned.face_to_photo, size)
    elif pixels.shape[0] == pixels.shape[1]:
        crop = square(pixels, size)
    else:
        (height, width), (high, wide) = pixels.shape[:2], photo_size
        raise PhotoError(
            f"the mask {path} is {width} x {height}; expected the photo's size, {wide} x {high}, or a square that "
            "lies on the aligned face. Draw it over the photo."
        )
    return np.asarray(crop.mean(axis=2, dtype=np.float32) / 255)
