"""Edited faces at their photo's own resolution: what `edited.png`, sweeps, grids and morphs show.

The network draws a small face; the photo's face is pasted over as :mod:`editing.pasting` pastes whole photos, and only
the face's square is shown.
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
    """A photo's face that waits for edits.

    Attributes:
        pixels: uint8 [S, S, 3], the face's square.
        before: float32 [R, R, 3] from 0 to 255, what its unedited latent draws.
        landmarks: [68, 2] in pixels of the drawn face.
        network: draws it.
    """

    pixels: np.ndarray
    before: np.ndarray
    landmarks: np.ndarray
    network: Generator

    @property
    def side(self) -> int:
        """S, pixels along a side."""
        return len(self.pixels)

    def resized(self, side: int) -> PhotoFace:
        """The same with another number of pixels along a side."""
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
            face: the edited inversion; says where its edits may show.
            drawn: [R, R, 3] from 0 to 255, what it draws.
            blend: one of :data:`editing.pasting.BLENDS`.
            warp: see :func:`editing.pasting.paste_drawn`.
        """
        placed = face.replace(face_to_photo=resized_square(self.network.resolution, self.side))
        pasted = paste_drawn(self.pixels, placed, drawn, self.before, self.network, blend, self.landmarks, warp)
        return Photo(self.pixels, face.photo).changed(pasted)  # a grey photo stays grey


def photo_face(
    inversion: Inversion, network: Generator, photo: Photo | None = None, most: int | None = None
) -> PhotoFace | None:
    """An inversion's face in its photo, or in the crop that is kept with it; None where there is neither.

    Args:
        inversion: edited or not.
        network: draws it.
        photo: the whole photo, where it is at hand.
        most: the most pixels along a side that are wanted; None for all there are.

    Raises:
        UnreadablePhotoError: the crop that is kept is damaged.
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
    """The photo's face that all these inversions show, edited or not; None where they are of different photos."""
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
    """An edited face in the crop that is kept with it; None where none is.

    Raises:
        UnreadablePhotoError: the crop is damaged.
    """
    found = photo_face(face, network)
    if found is None:
        return None
    pixels = found.edited(face, to_levels(face.tensor(network))[0].numpy(), blend)
    return MarkedImage(pixels, software_tag(face.network, face.edits))


def sheet_side(faces: Iterable[PhotoFace | None], network: Generator, cells: int, most_pixels: int) -> int:
    """Pixels along a side of each cell of a sheet: as its finest face has, as far as the sheet stays under a size."""
    wanted = max([network.resolution, *(min(LARGEST, face.side) for face in faces if face is not None)])
    return max(network.resolution, min(wanted, int((most_pixels / cells) ** 0.5)))


def enlarged_smoothly(pixels: np.ndarray, side: int) -> np.ndarray:
    """A drawn face, uint8 [R, R, 3], among others that have more pixels."""
    if len(pixels) == side:
        return pixels
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_CUBIC))
