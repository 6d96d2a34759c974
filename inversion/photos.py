"""Opens photos given as paths, arrays or Pillow images, and crops their faces for a network."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from inversion.config import Which
from relatent.core.alignment import Alignment
from relatent.core.errors import PhotoError, UsageError
from relatent.core.folders import find_photos
from relatent.core.images import Photo, photo_of, read_photo
from relatent.core.results import without_results
from relatent.face import AlignedFace, Face, align_face, centre_square, choose_faces, find_faces


class Crop(Protocol):
    """What the crop of a face depends on; every generator has it."""

    @property
    def resolution(self) -> int: ...
    @property
    def alignment(self) -> Alignment: ...


PhotoLike = str | Path | np.ndarray | Image.Image | Photo


def open_photo(photo: PhotoLike) -> Photo:
    """Open a path, Pillow image or array as a Photo.

    Raises:
        PhotoError: the file cannot be read.
        UsageError: another type, or an array of another shape or dtype.
    """
    if isinstance(photo, Photo):
        return photo
    if isinstance(photo, str | Path):
        return read_photo(photo)
    if isinstance(photo, Image.Image):
        return photo_of(photo)
    if isinstance(photo, np.ndarray) and photo.dtype == np.uint8 and photo.ndim == 3 and photo.shape[2] == 3:
        return Photo(photo, name="the picture")
    what = type(photo).__name__
    if isinstance(photo, np.ndarray):
        what = f"an array of {photo.dtype} {list(photo.shape)}"
    raise UsageError(f"a photo came as {what}; expected a path, a Pillow image or a uint8 array [H, W, 3].")


def is_many(photo: object) -> bool:
    """Whether ``photo`` stands for several: a list, a tuple or a folder.

    Raises:
        UsageError: an empty text, which Python would take for the current folder.
    """
    if isinstance(photo, str) and not photo:
        raise UsageError('a photo came as an empty text; expected a path. Write "." for the current folder.')
    return isinstance(photo, list | tuple) or (isinstance(photo, str | Path) and Path(photo).is_dir())


def listed(photos: object) -> list[PhotoLike]:
    """A list as it is, a folder as the pictures in it but those that Relatent made.

    Raises:
        PhotoError: the folder contains no pictures.
    """
    if isinstance(photos, list | tuple):
        return list(photos)
    folder = Path(str(photos))
    found, _ = without_results(find_photos(folder))
    if not found:
        raise PhotoError(f"{folder} holds no pictures; expected files such as .jpg or .png.")
    return list(found)


def crop_faces(
    photo: Photo,
    network: Crop,
    *,
    align: bool = True,  # detect and crop the face; else crop the centre square
    which: Which = "largest",
    found: list[Face] | None = None,  # the detected faces, largest first; None detects them
) -> list[AlignedFace]:
    """The faces of a photo chosen by ``which``, cropped for ``network``, largest first.

    Raises:
        FaceNotFoundError: there is no face, or no face of that number.
    """
    if not align:
        return [centre_square(photo.pixels, network.resolution)]
    height, width = photo.pixels.shape[:2]
    faces = choose_faces(find_faces(photo.pixels) if found is None else found, which, photo.name, (width, height))
    return [align_face(photo.pixels, face.landmarks, network.alignment, network.resolution) for face in faces]
