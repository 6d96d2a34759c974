"""`paste_back` pastes edited faces back into their photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, cast

import numpy as np
from torch import Tensor

from editing.faces import FaceLike, open_faces
from inversion import Inversion
from inversion.photos import PhotoLike, open_photo
from relatent.core.errors import UnknownNameError, UsageError
from relatent.core.images import Photo, to_levels
from relatent.core.provenance import MarkedImage, software_tag
from relatent.face.paste import paste_difference, paste_face
from relatent.face.regions import drawn_landmarks, region_mask
from relatent.face.sampling import without_fractions
from relatent.face.warp import Warp, face_in_photo, paste_warped
from stylegan import Generator

Blend = Literal["warp", "difference", "replace", "poisson"]
BLENDS: tuple[Blend, ...] = ("warp", "difference", "replace", "poisson")
DEFAULT_BLEND: Blend = "warp"


def paste_back(
    edited: FaceLike | Sequence[FaceLike],
    photo: PhotoLike,
    *,
    blend: Blend = DEFAULT_BLEND,
    network: Generator | Mapping[str, Generator] | None = None,  # if loaded already
    drawn: Sequence[Tensor] | None = None,  # if drawn already
) -> MarkedImage:
    """Paste edited faces into the photo at its full size.

    ``warp`` moves the photo's own pixels as the edit moved the drawn face, and uses the drawn face where motion does
    not explain the edit (:mod:`relatent.face.warp`). ``difference`` adds the change of the drawn face to the photo.
    ``replace`` pastes the drawn face, feathered along its outline and matched in colour; ``poisson`` uses Poisson
    blending. docs/edit.md has measurements.

    Args:
        edited: what :func:`editing.edit` or :func:`editing.mix` made, or the folder or file where it lies; several for
            several faces of one photo.
        photo: the photo that was inverted: a path, bytes of pixels, or a Pillow image.
        blend: one of :data:`BLENDS`.
        network: the network of all faces, or networks by id; None loads the network of each face.
        drawn: what each face draws, [1, 3, R, R], where it is known; None draws them.

    Returns:
        A Pillow image whose ``save`` keeps the photo's EXIF (without its orientation), XMP, colour profile and, in PNG,
        16 bits per channel, and adds provenance (:mod:`relatent.core.provenance`).

    Raises:
        UsageError: an inversion without a position in a photo, or with one outside this photo.
        PhotoError: the photo cannot be read.
    """
    if blend not in BLENDS:
        raise UnknownNameError("blend", str(blend), BLENDS)
    own = network if isinstance(network, Generator) else None
    faces = open_faces(edited if isinstance(edited, list | tuple) else [cast("FaceLike", edited)], own)
    if not faces:
        raise UsageError("no face was given; expected at least one edited inversion.")
    source = open_photo(photo)
    pixels = source.fine_pixels
    networks = dict(network) if isinstance(network, Mapping) else {}
    edits: dict[str, float] = {}
    for index, face in enumerate(faces):
        if isinstance(network, Generator):
            networks[face.network] = network
        elif face.network not in networks:
            networks[face.network] = face.open_network()
        pixels = _with_face(pixels, face, networks[face.network], blend, None if drawn is None else drawn[index])
        edits |= face.edits
    return MarkedImage(source.changed(pixels), software_tag(faces[0].network, edits), _described(source))


def _with_face(
    pixels: np.ndarray, face: Inversion, network: Generator, blend: Blend, drawn: Tensor | None
) -> np.ndarray:
    drawn = face.tensor(network) if drawn is None else drawn
    edited, before = (to_levels(one)[0].numpy() for one in (drawn, face.unedited().tensor(network)))
    return paste_drawn(pixels, face, edited, before, network, blend)


def paste_drawn(
    pixels: np.ndarray,
    face: Inversion,
    edited: np.ndarray,
    before: np.ndarray,
    network: Generator,
    blend: Blend = DEFAULT_BLEND,
    landmarks: np.ndarray | None = None,
    warp: Warp | None = None,
) -> np.ndarray:
    """:func:`paste_back` for one face whose pictures are drawn already.

    Args:
        pixels: uint8 [H, W, 3], or float32 from 0 to 255.
        face: the inversion, with its position in the photo and its mask.
        edited: its picture, [R, R, 3] from 0 to 255.
        before: its picture without edits.
        network: of the face.
        blend: one of :data:`BLENDS`.
        landmarks: [68, 2] of the photo's face in pixels of the drawn one, for ``warp``; None looks for them, which
            takes longer than the rest.
        warp: what :func:`relatent.face.warp.warp_of` has measured of these faces, for ``warp``.

    Returns:
        A new array like ``pixels``; float32 is not rounded.

    Raises:
        UsageError: an inversion without a position in a photo, or with one outside this photo.
    """
    if face.face_to_photo is None:
        raise UsageError(
            "this latent does not know its place in a photo. Invert the photo itself (inversion.invert or "
            "python -m inversion.project), not a tensor."
        )
    if blend == "warp":
        points = landmarks if landmarks is not None else photo_landmarks(without_fractions(pixels), face, network)
        free = None if face.mask is None else face.mask[0, 0].numpy()
        return paste_warped(pixels, edited, before, face.face_to_photo, points, free, warp)
    if blend == "difference":
        return paste_difference(pixels, edited, before, face.face_to_photo)
    mask = np.maximum(*(_outline(picture, network) for picture in (edited, before)))
    if face.mask is not None:
        mask = mask * face.mask[0, 0].numpy()
    return paste_face(pixels, edited, face.face_to_photo, mask, before=before, poisson=blend == "poisson")


def photo_landmarks(pixels: np.ndarray, face: Inversion, network: Generator) -> np.ndarray:
    """The landmarks of the photo's face, [68, 2] in pixels of the drawn face.

    Args:
        pixels: uint8 [H, W, 3], the photo.
        face: the inversion, with its position in the photo.
        network: of the face.
    """
    assert face.face_to_photo is not None
    return face_in_photo(pixels, face.face_to_photo, network.resolution, network.alignment)


def _outline(picture: np.ndarray, network: Generator) -> np.ndarray:
    """The face of a drawn picture [R, R, 3] as a soft mask [R, R]."""
    landmarks = drawn_landmarks(picture.round().astype(np.uint8), network.alignment)
    return region_mask(["face"], landmarks, len(picture))


def _described(photo: Photo) -> Photo | None:
    """The photo if it has metadata or a colour profile to keep; else None."""
    return photo if photo.exif or photo.icc_profile or photo.xmp or photo.iptc else None
