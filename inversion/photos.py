"""Opens photos given as paths, folders, arrays or Pillow images, and crops their faces for a network."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from inversion.config import Which
from inversion.inputs import expand
from relatent.core.alignment import Alignment
from relatent.core.errors import PhotoError, UsageError
from relatent.core.images import Photo, photo_of, read_photo
from relatent.face import AlignedFace, Face, align_face, centre_square, choose_faces, find_faces

PhotoLike = str | Path | np.ndarray | Image.Image | Photo


class Crop(Protocol):
    """What the crop of a face depends on; every generator has it."""

    @property
    def resolution(self) -> int: ...
    @property
    def alignment(self) -> Alignment: ...


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
    if (
        isinstance(photo, np.ndarray)
        and photo.dtype == np.uint8
        and photo.ndim == 3
        and photo.shape[2] == 3
        and photo.size
    ):
        return Photo(photo, name="the picture")
    raise UsageError(f"a photo came as {_described(photo)}")


def _described(photo: object) -> str:
    """What came in place of a photo, what was expected, and how to convert the one to the other."""
    expected = "expected a path, a Pillow image or a uint8 array [H, W, 3]."
    if not isinstance(photo, np.ndarray):
        return f"{type(photo).__name__}; {expected}"
    text = f"an array of {photo.dtype} {list(photo.shape)}; {expected}"
    if photo.dtype.kind == "f":
        return f"{text} Scale it to 0 to 255 and convert it with .round().astype(np.uint8)."
    if photo.dtype == np.uint8 and (photo.ndim == 2 or photo.shape[2:] in ((1,), (2,), (4,))):
        kind = "A grey array" if photo.ndim == 2 or photo.shape[2] < 3 else "An array with transparency"
        return f"{text} {kind} is read through Pillow: Image.fromarray(array)."
    if not photo.size:
        return f"{text} It has no pixels."
    if photo.ndim == 3 and photo.shape[0] in (1, 3, 4):
        return f"{text} Move its channels last with np.moveaxis(array, 0, -1)."
    return text


def is_many(photo: object) -> bool:
    """Whether ``photo`` stands for several: a list, a tuple or a folder.

    Raises:
        UsageError: an empty text, which Python would take for the current folder.
    """
    if isinstance(photo, str) and not photo:
        raise UsageError('a photo came as an empty text; expected a path. Write "." for the current folder.')
    return isinstance(photo, list | tuple) or (isinstance(photo, str | Path) and Path(photo).is_dir())


def photos_of(photos: object) -> list[PhotoLike]:
    """A list as it is, a folder as the pictures in it; a warning names what is passed over in a folder.

    Raises:
        PhotoError: the folder contains no pictures.
    """
    if isinstance(photos, list | tuple):
        return list(photos)
    inputs = expand([Path(str(photos))])
    if inputs.note():
        warnings.warn(inputs.note(), stacklevel=3)
    paths: list[PhotoLike] = []
    for one in inputs.photos:
        if isinstance(one, PhotoError):
            raise one
        paths.append(one)
    return paths


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
