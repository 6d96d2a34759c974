"""Edited faces at the resolution of their photo, for `edited.png`, sweeps, grids and morphs.

The face's square of the photo is cropped, and the edited face is pasted into it as :mod:`editing.pasting` does with
whole photos.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from editing.pasting import DEFAULT_BLEND, Blend, paste_drawn
from inversion import Inversion
from relatent.core.images import Photo, photo_of, to_levels
from relatent.core.provenance import MarkedImage, software_tag
from relatent.face.crop import LARGEST, cut_crop, own_side, resized_square, unpack_crop
from relatent.face.warp import Warp, face_in_photo
from stylegan import Generator

At = Literal["photo", "network"]
ATS: tuple[At, ...] = ("photo", "network")


@dataclass(frozen=True)
class PhotoFace:
    """The crop of a photo's face, into which edits are pasted.

    Attributes:
        pixels: uint8 [S, S, 3], the face's square.
        before: float32 [R, R, 3] from 0 to 255, the picture of its latent without edits.
        landmarks: [68, 2] in pixels of the drawn face.
        network: draws it.
    """

    pixels: np.ndarray
    before: np.ndarray
    landmarks: np.ndarray
    network: Generator

    @property
    def side(self) -> int:
        """S, the side in pixels."""
        return len(self.pixels)

    def resized(self, side: int) -> PhotoFace:
        """A copy with another side in pixels."""
        if side == self.side:
            return self
        how = cv2.INTER_AREA if side < self.side else cv2.INTER_CUBIC
        pixels = np.asarray(cv2.resize(self.pixels, (side, side), interpolation=how))
        return PhotoFace(pixels, self.before, self.landmarks, self.network)

    def edited(
        self, face: Inversion, drawn: np.ndarray, blend: Blend = DEFAULT_BLEND, warp: Warp | None = None
    ) -> np.ndarray:
        """The square with an edit, uint8 [S, S, 3].

        Args:
            face: the edited inversion, with its mask.
            drawn: its picture, [R, R, 3] from 0 to 255.
            blend: one of :data:`editing.pasting.BLENDS`.
            warp: see :func:`editing.pasting.paste_drawn`.
        """
        placed = face.replace(face_to_photo=resized_square(self.network.resolution, self.side))
        pasted = paste_drawn(self.pixels, placed, drawn, self.before, self.network, blend, self.landmarks, warp)
        return Photo(self.pixels, face.photo).changed(pasted)  # a grey photo stays grey


def photo_face(
    inversion: Inversion, network: Generator, photo: Photo | None = None, most: int | None = None
) -> PhotoFace | None:
    """The face of an inversion, cropped from its photo or from the crop stored with it; None if there is neither.

    Args:
        inversion: edited or not.
        network: of the inversion.
        photo: the whole photo if available.
        most: largest side in pixels; None for no limit.

    Raises:
        UnreadablePhotoError: the stored crop is damaged.
    """
    size = network.resolution
    if photo is not None and inversion.face_to_photo is not None:
        pixels = cut_crop(photo.pixels, inversion.face_to_photo, size, own_side(inversion.face_to_photo, size, most))
    elif inversion.crop is not None:
        pixels = unpack_crop(inversion.crop)
    else:
        return None
    before = to_levels(inversion.unedited().tensor(network))[0].numpy()
    points = face_in_photo(pixels, resized_square(size, len(pixels)), size, network.alignment)
    found = PhotoFace(pixels, before, points, network)
    return found.resized(max(size, min(found.side, most))) if most is not None else found


def shared_photo_face(inversions: Iterable[Inversion], network: Generator) -> PhotoFace | None:
    """The face of inversions, edited or not, that share one photo; None if they have different photos."""
    first, *others = inversions
    if first.crop is None or any(one.crop != first.crop for one in others):
        return None
    return photo_face(first, network)


def cut_from(pasted: MarkedImage, face: Inversion, network: Generator) -> MarkedImage:
    """The edited face's square of a whole photo that it was pasted into, at the photo's resolution, in sRGB."""
    assert face.face_to_photo is not None
    size = network.resolution
    whole = photo_of(pasted).pixels
    pixels = cut_crop(whole, face.face_to_photo, size, own_side(face.face_to_photo, size))
    return MarkedImage(pixels, software_tag(face.network, face.edits))


def at_photo(face: Inversion, network: Generator, blend: Blend = DEFAULT_BLEND) -> MarkedImage | None:
    """Paste an edited face into the crop stored with it; None if there is no crop.

    Raises:
        UnreadablePhotoError: the crop is damaged.
    """
    found = photo_face(face, network)
    if found is None:
        return None
    pixels = found.edited(face, to_levels(face.tensor(network))[0].numpy(), blend)
    return MarkedImage(pixels, software_tag(face.network, face.edits))


def sheet_side(faces: Iterable[PhotoFace | None], network: Generator, cells: int, most_pixels: int) -> int:
    """The side of the cells of a sheet: that of its largest face, limited so that the sheet has at most
    ``most_pixels``."""
    wanted = max([network.resolution, *(min(LARGEST, face.side) for face in faces if face is not None)])
    return max(network.resolution, min(wanted, int((most_pixels / cells) ** 0.5)))


def enlarged_smoothly(pixels: np.ndarray, side: int) -> np.ndarray:
    """Enlarge a drawn face, uint8 [R, R, 3], to the size of faces of higher resolution."""
    if len(pixels) == side:
        return pixels
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_CUBIC))
