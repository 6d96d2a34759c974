"""Masks that exclude parts of a photo, such as occlusions and background, from the loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from relatent.core.alignment import Alignment
from relatent.core.errors import PhotoError, UsageError
from relatent.core.images import Photo, read_photo
from relatent.face import AlignedFace
from relatent.face.regions import drawn_landmarks, region_mask
from relatent.face.sampling import sample_square

AUTO = "auto"
SMALLEST = 0.01  # smallest share of the crop that a mask must keep


def mask_of(choice: str | Path, aligned: AlignedFace, photo: Photo, alignment: Alignment) -> Tensor:
    """The mask of one aligned face, float32 [1, 1, R, R]: weight of each pixel in the loss, from 0 to 1.

    Args:
        choice: "auto" for the face's hull by its landmarks, or a picture: white counts, black and what is transparent
            do not. Zeros and ones are black and white, too. It has the size of the photo, or of the aligned face.
        aligned: the face.
        photo: the photo that it was cropped from.
        alignment: the network's, used to place the hull if the face has no landmarks.

    Raises:
        PhotoError: a picture of another size, or one that leaves next to nothing of the face.
        UnreadablePhotoError: no picture.
        UsageError: neither "auto" nor a path.
    """
    if not isinstance(choice, str | Path):
        raise UsageError(
            f'the mask came as {type(choice).__name__}; expected "auto" or the path of a picture. '
            "Masks of aligned faces as tensors are for inversion.pipeline.invert_images."
        )
    size = len(aligned.image)
    if choice == AUTO:
        points = drawn_landmarks(aligned.image, alignment) if aligned.landmarks is None else aligned.landmarks
        mask = region_mask(["face"], points, size)
    else:
        mask = _drawn_mask(Path(choice), aligned, photo.pixels.shape[:2], size)
    if mask.mean() < SMALLEST:
        raise PhotoError(
            f"the mask {choice} leaves {mask.mean():.1%} of the face in {photo.name}; expected white, not transparent, "
            "where the photo counts. Invert its colours, or draw it larger."
        )
    return torch.from_numpy(np.ascontiguousarray(mask, np.float32))[None, None]


def _drawn_mask(path: Path, aligned: AlignedFace, photo_size: tuple[int, ...], size: int) -> np.ndarray:
    drawn = _values(read_photo(path))
    if drawn.shape == photo_size:
        levels = np.repeat(np.rint(drawn * 255).astype(np.uint8)[..., None], 3, axis=2)
        return np.asarray(sample_square(levels, aligned.face_to_photo, size)[..., 0] / np.float32(255))
    if drawn.shape != (size, size):
        (height, width), (high, wide) = drawn.shape, photo_size
        raise PhotoError(
            f"the mask {path} is {width} x {height}; expected the photo's size, {wide} x {high}, or the "
            f"aligned face's, {size} x {size}. Draw it over the photo, or over target.png."
        )
    return drawn


def _values(mask: Photo) -> np.ndarray:
    """What a mask's file says, float32 [H, W] from 0 to 1."""
    levels = mask.pixels if mask.original is None else mask.original
    transparent = levels.shape[2] in (2, 4)
    colours = levels[..., :-1] if transparent else levels
    white = 1 if colours.max() <= 1 else np.iinfo(levels.dtype).max  # 0 and 1, as segmenters write them
    values = colours.mean(axis=2, dtype=np.float32) / white
    if transparent:
        values *= levels[..., -1] / np.float32(np.iinfo(levels.dtype).max)
    return np.asarray(values)
