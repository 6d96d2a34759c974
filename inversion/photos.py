"""Photos in any form, and the faces in them, cropped as a network needs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from inversion.config import Which
from relatent.core.errors import PhotoError, UsageError
from relatent.core.folders import find_photos
from relatent.core.images import Photo, photo_of, read_photo
from relatent.face import AlignedFace, Face, align_face, centre_square, choose_faces, find_faces
from stylegan.networks.generator import Generator

PhotoLike = str | Path | np.ndarray | Image.Image | Photo


def open_photo(photo: PhotoLike) -> Photo:
    """Any kind of picture as a Photo.

    Raises:
        PhotoError: a file that cannot be read.
        UsageError: neither a path nor a picture.
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
    """Whether ``photo`` stands for several: a list, a tuple or a folder."""
    return isinstance(photo, list | tuple) or (isinstance(photo, str | Path) and Path(photo).is_dir())


def listed(photos: object) -> list[PhotoLike]:
    """A list as it is, a folder as the pictures in it.

    Raises:
        PhotoError: a folder without pictures.
    """
    if isinstance(photos, list | tuple):
        return list(photos)
    folder = Path(str(photos))
    found = find_photos(folder)
    if not found:
        raise PhotoError(f"{folder} holds no pictures; expected files such as .jpg or .png.")
    return list(found)


def crop_faces(
    photo: Photo,
    network: Generator,
    *,
    align: bool = True,  # find and crop the face; else the centre square is taken
    which: Which = "largest",
    found: list[Face] | None = None,  # the faces where somebody has looked already, largest first
) -> list[AlignedFace]:
    """The wanted faces of a photo, cropped as ``network`` needs them, largest first.

    Raises:
        FaceNotFoundError: no face, or not as many as asked for.
    """
    if not align:
        return [centre_square(photo.pixels, network.resolution)]
    height, width = photo.pixels.shape[:2]
    faces = choose_faces(found or find_faces(photo.pixels), which, photo.name, (width, height))
    return [align_face(photo.pixels, face.landmarks, network.alignment, network.resolution) for face in faces]
