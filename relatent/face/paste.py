"""Pastes a face into its photo at the photo's size: geometry and blending, independent of generators.

`paste_difference` adds the change that an edit made, so that skin, hair and background keep the photo's own detail.
`paste_face` pastes the drawn face itself. A third method is in :mod:`relatent.face.warp`.

Convention in this module:
    ``face_to_photo`` maps columns (x, y, 1) of face pixels to photo pixels; (0, 0) is the centre of the top-left
    pixel of both. Pictures of the face are float32 [R, R, 3] from 0 to 255, masks float32 [R, R] from 0 to 1.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from relatent.core.errors import ShapeError, UsageError
from relatent.face.sampling import check_photo, levels_like, map_points, without_fractions

EDGE = 0.08  # width of the fade at the edge of the crop, relative to its side
GAIN_LIMITS = (0.5, 2.0)  # of the change of a channel's contrast by colour matching
FINEST = 8  # maximum of samples per photo pixel and axis; enough for a face at 1/8 of the network's resolution


def paste_difference(
    photo: np.ndarray,
    edited: np.ndarray,
    before: np.ndarray,
    face_to_photo: np.ndarray,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """Add the change that an edit made to the photo.

    The difference is computed in float, resampled once, and added. Where nothing has changed, the photo keeps its exact
    values. The difference fades out towards the edge of the crop.

    Args:
        photo: uint8 [H, W, 3], or float32 from 0 to 255.
        edited: [R, R, 3], the drawn face after the edit.
        before: [R, R, 3], the drawn face before it.
        face_to_photo: float64 [3, 3].
        mask: [R, R], weight of the difference; None for 1 everywhere.

    Returns:
        A new array like ``photo``; float32 is not rounded.

    Raises:
        ShapeError: pictures or masks of another shape.
        UsageError: the face lies outside the photo.
    """
    size = checked_faces(photo, edited, before, mask)
    weight = edge_mask(size) if mask is None else edge_mask(size) * mask
    difference = (edited.astype(np.float32) - before.astype(np.float32)) * weight[..., None]
    window = photo_window(face_to_photo, size, photo.shape[:2])
    result = photo.copy()
    result[window] = levels_like(photo, photo[window] + to_window(difference, face_to_photo, window))
    return result


def paste_face(
    photo: np.ndarray,
    edited: np.ndarray,
    face_to_photo: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    before: np.ndarray | None = None,
    poisson: bool = False,
) -> np.ndarray:
    """Replace the photo's face by the drawn one.

    Colours are matched first: mean and standard deviation of each channel below the mask, of ``before`` to those of the
    photo (after Reinhard et al. 2001, in RGB). As ``before`` is matched, changes of colour by the edit are kept.

    Args:
        photo: uint8 [H, W, 3], or float32 from 0 to 255.
        edited: [R, R, 3], the drawn face.
        face_to_photo: float64 [3, 3].
        mask: [R, R], opacity of the drawn face; None for 1 except at the edge of the crop.
        before: [R, R, 3], the drawn face before the edit; None for ``edited`` itself.
        poisson: blend gradients instead of colours (Perez et al. 2003, by OpenCV's ``seamlessClone``): the seam
            disappears, and the photo's light around the face carries into it.

    Returns:
        A new array like ``photo``; float32 is not rounded.

    Raises:
        ShapeError: pictures or masks of another shape.
        UsageError: the face lies outside the photo.
    """
    size = checked_faces(photo, edited, edited if before is None else before, mask)
    weight = edge_mask(size) if mask is None else edge_mask(size) * mask
    window = photo_window(face_to_photo, size, photo.shape[:2])
    below = photo[window]
    shown = to_window(weight, face_to_photo, window).clip(0, 1)[..., None]
    drawn = to_window(edited.astype(np.float32), face_to_photo, window)
    known = drawn if before is None else to_window(before.astype(np.float32), face_to_photo, window)
    drawn = _matched(drawn, known, below, shown)
    result = photo.copy()
    replaced = levels_like(photo, below + (drawn - below) * shown)
    result[window] = _poisson(below, drawn, shown, replaced) if poisson else replaced
    return result


def checked_faces(photo: np.ndarray, edited: np.ndarray, before: np.ndarray, mask: np.ndarray | None) -> int:
    """The side R of two drawn faces.

    Raises:
        ShapeError: the photo is not uint8 or float32 [H, W, 3], a face is not [R, R, 3], or the mask is not [R, R].
    """
    check_photo(photo, fractions=True)
    size = len(edited)
    if edited.shape != (size, size, 3) or before.shape != edited.shape:
        raise ShapeError(f"the faces are {list(edited.shape)} and {list(before.shape)}; expected both [R, R, 3].")
    if mask is not None and mask.shape != (size, size):
        raise ShapeError(f"the mask is {list(mask.shape)}; expected [{size}, {size}] as the face.")
    return size


def edge_mask(size: int) -> np.ndarray:
    """A mask that rises smoothly from 0 at the edge of the crop to 1 further in; float32 [size, size]."""
    inside = np.minimum(np.arange(size), np.arange(size)[::-1]) / max(1.0, EDGE * size)
    ramp = np.clip(inside, 0, 1).astype(np.float32)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return ramp[:, None] * ramp[None, :]


def photo_window(
    face_to_photo: np.ndarray, size: int | tuple[int, int], photo_size: tuple[int, int]
) -> tuple[slice, slice]:
    """The rows and columns of the photo that the face's crop covers, ``size`` pixels square or (height, width).

    Raises:
        UsageError: none.
    """
    rows, columns = (size, size) if isinstance(size, int) else size
    edges = np.array([(x, y) for x in (-0.5, columns - 0.5) for y in (-0.5, rows - 0.5)])
    corners = map_points(face_to_photo, edges)
    height, width = photo_size
    low, high = corners.min(axis=0), corners.max(axis=0)
    left, top = (max(0, math.floor(value)) for value in low)
    right, bottom = (min(end, math.ceil(value) + 1) for value, end in zip(high, (width, height), strict=True))
    if left >= right or top >= bottom:
        raise UsageError(
            f"the face lies around ({(low + high)[0] / 2:.0f}, {(low + high)[1] / 2:.0f}), outside this photo of "
            f"{width} x {height} pixels. Give the photo that was inverted, at its size."
        )
    return slice(top, bottom), slice(left, right)


def to_window(
    picture: np.ndarray, face_to_photo: np.ndarray, window: tuple[slice, slice], how: int = cv2.INTER_CUBIC
) -> np.ndarray:
    """Resample a picture of the face to the photo's pixels; 0 outside the crop.

    Bicubic if the photo's pixels are smaller than those of the face. Otherwise the mean of n x n bicubic samples for
    each photo pixel, so that no face pixel is skipped.

    Args:
        picture: float32 [R, R] or [R, R, C].
        face_to_photo: float64 [3, 3].
        window: rows and columns of the photo.
        how: cv2.INTER_LINEAR is enough, and three times as fast, for what is smooth at its own pixels.

    Returns:
        float32 [h, w] or [h, w, C].
    """
    rows, columns = window
    height, width = rows.stop - rows.start, columns.stop - columns.start
    photo_to_face = np.linalg.inv(face_to_photo)
    n = min(FINEST, max(1, math.ceil(math.hypot(*photo_to_face[:2, 0]) - 1e-6)))
    fine = np.array([[1 / n, 0, columns.start + (1 / n - 1) / 2], [0, 1 / n, rows.start + (1 / n - 1) / 2], [0, 0, 1]])
    drawn = cv2.warpAffine(
        picture,
        (photo_to_face @ fine)[:2],
        (width * n, height * n),
        flags=how | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
    )
    return np.asarray(drawn if n == 1 else cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA))


def _matched(drawn: np.ndarray, known: np.ndarray, below: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Apply to ``drawn`` the colour change that matches ``known`` to ``below`` under the mask."""
    total = float(shown.sum())
    if total < 1:
        return drawn

    def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean = (values * shown).sum(axis=(0, 1)) / total
        return mean, np.sqrt(((values - mean) ** 2 * shown).sum(axis=(0, 1)) / total)

    (mean, spread), (wanted_mean, wanted_spread) = moments(known), moments(below.astype(np.float32))
    gain = np.clip(wanted_spread / np.maximum(spread, 1e-3), *GAIN_LIMITS)
    return (drawn - mean) * gain + wanted_mean


def _poisson(below: np.ndarray, drawn: np.ndarray, shown: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Poisson blending of ``drawn``, where its opacity is above one half, into ``below``.

    Where that is too little to blend, the result is ``otherwise``. OpenCV blends in 8 bits; fractions of ``below`` are
    added afterwards.
    """
    mask = np.where(shown[..., 0] > 0.5, 255, 0).astype(np.uint8)
    mask[[0, -1]] = mask[:, [0, -1]] = 0  # the blend follows from the photo's colours around the mask
    x, y, width, height = cv2.boundingRect(mask)
    if min(width, height) < 3:
        return otherwise
    centre = (x + width // 2, y + height // 2)
    source, target = (np.ascontiguousarray(without_fractions(one.clip(0, 255))) for one in (drawn, below))
    cloned = np.asarray(cv2.seamlessClone(source, target, mask, centre, cv2.NORMAL_CLONE))
    return levels_like(below, cloned + (below - target))
