"""One photo of a face set: its aligned faces, or why it has none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from relatent.core.errors import MissingPackageError, RelatentError
from relatent.core.images import encode_png, read_photo
from relatent.face.align import align_face
from relatent.face.dataset.options import HASH_BITS, FaceSetOptions
from relatent.face.landmarks import Face, find_faces
from relatent.face.sampling import map_points

GRID = 64  # points a side at which the share outside the photo is measured


@dataclass(frozen=True)
class FoundFace:
    """A face that fits into the set.

    Attributes:
        png: the aligned face, RGB.
        side: of the crop in photo pixels.
        hash: perceptual hash of the aligned face, hexadecimal, of 256 bits.
    """

    png: bytes
    side: float
    hash: str


@dataclass(frozen=True)
class PhotoResult:
    """What became of a photo.

    Attributes:
        faces: that fit, largest first.
        rejected: why others, or the photo itself, do not; one sentence each.
    """

    faces: tuple[FoundFace, ...] = ()
    rejected: tuple[str, ...] = ()


def examine(path: Path, options: FaceSetOptions) -> PhotoResult:
    """Read a photo and align its faces. A photo that cannot be used is a rejection, not an exception."""
    try:
        pixels = read_photo(path, path.name).pixels
        found = find_faces(pixels)
    except RelatentError as error:
        return PhotoResult(rejected=(str(error),))
    if not found:
        return PhotoResult(rejected=("no face found.",))
    faces: list[FoundFace] = []
    rejected: list[str] = []
    for face in found if options.face == "all" else found[:1]:
        try:
            result = _aligned(pixels, face, options)
        except RelatentError as error:  # landmarks without a direction
            result = str(error)
        if isinstance(result, str):
            rejected.append(result)
        else:
            faces.append(result)
    return PhotoResult(tuple(faces), tuple(rejected))


def _aligned(pixels: np.ndarray, face: Face, options: FaceSetOptions) -> FoundFace | str:
    """The aligned face, or why it is rejected."""
    aligned = align_face(pixels, face.landmarks, options.alignment, options.size)
    side = float(np.hypot(*aligned.face_to_photo[:2, 0])) * options.size
    if options.size > side * options.most_enlarged:
        return (
            f"its crop has {side:.0f} px and would be enlarged {options.size / side:.1f} times; at most "
            f"{options.most_enlarged:g} is allowed (--most-enlarged)."
        )
    outside = share_outside(aligned.face_to_photo, options.size, pixels.shape[:2])
    if outside > options.most_outside:
        return (
            f"{100 * outside:.0f} % of its crop lies outside the photo; at most {100 * options.most_outside:g} % are "
            "allowed (--most-outside)."
        )
    return FoundFace(encode_png(aligned.image), side, perceptual_hash(aligned.image))


def share_outside(face_to_photo: np.ndarray, size: int, shape: tuple[int, ...]) -> float:
    """The share of an aligned face of this side that no pixel of a photo [H, W] covers, 0 to 1."""
    steps = (np.arange(GRID) + 0.5) * (size / GRID) - 0.5
    points = map_points(face_to_photo, np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2))
    height, width = shape
    inside = (points > -0.5).all(axis=1) & (points < np.array([width - 0.5, height - 0.5])).all(axis=1)
    return float(1 - inside.mean())


def perceptual_hash(image: np.ndarray) -> str:
    """The pHash of a picture: signs of its low frequencies, 256 bits, hexadecimal; alike for pictures that look alike.

    Args:
        image: uint8 [H, W, 3].

    Raises:
        MissingPackageError: imagehash is not installed.
    """
    try:
        import imagehash
    except ImportError:
        raise MissingPackageError("imagehash", "train", "finding duplicates") from None
    return str(imagehash.phash(Image.fromarray(image), hash_size=round(HASH_BITS**0.5)))
