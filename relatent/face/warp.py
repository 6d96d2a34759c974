"""Applies an edit to a photo at its own resolution, by moving its pixels and adding the drawn face where needed.

The unedited and the edited face are drawn by the same network, so the optical flow between them can be measured on
smooth pictures (:mod:`relatent.face.flow`) and applied to the sharp photo. With P the photo, B the unedited and E the
edited drawing, f the flow from E to B, all at the photo's pixels:

    moved    P(x + f)
    change   c (E - B(x + f)) + (1 - c) (E + o + t - P(x + f))

The change is the part of the edit that motion does not explain. Where motion explains nearly everything, c is 1, and
the residual, such as a shadow or a blush, is added to the photo's own detail. Where it does not (teeth, an opened eye,
glasses), c falls to 0 and the drawing is shown, matched to the photo in colour by the offset o and in texture by t,
the fine structure of P(x + f) without its lines (:mod:`relatent.face.texture`). Before that, colours of E that the face
does not have are limited (:mod:`relatent.face.gamut`). This applies inside the outline of the face. Outside, the
surroundings move along with a receding jaw, and a change of colour is extended to the skin (:mod:`relatent.face.skin`).

Convention: as in :mod:`relatent.face.paste` and :mod:`relatent.face.flow`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from relatent.core.alignment import Alignment
from relatent.core.errors import UsageError
from relatent.face.align import checked_landmarks
from relatent.face.crop import resized_square
from relatent.face.flow import (
    Motion,
    blurred,
    carried_points,
    largest,
    motion_between,
    moved,
    pixel_grid,
    scaled,
    smooth_step,
    smoothed_flow,
    spread,
    square_sum,
)
from relatent.face.gamut import within_own_colours
from relatent.face.paste import checked_faces, edge_mask, photo_window, to_window
from relatent.face.regions import drawn_landmarks, region_mask
from relatent.face.sampling import glance, map_points, sample_square, sum_like, without_fractions
from relatent.face.skin import run_out
from relatent.face.texture import with_texture_only

SIZE = 256  # px; side at which motion and all smooth quantities are computed
MARGIN = 0.012  # of the side, by which the face's outline is widened: landmarks lie on the jaw, its edge beside them
UNEXPLAINED = 16.0  # levels of fine structure; where motion leaves a larger residual, the drawing is shown
CONTRAST = 0.9  # the same for faces of strong contrast, relative to their own fine structure
FINE_STRUCTURE = 0.05  # of the side, standard deviation that separates structure (finer) from colour (coarser)
PATCH = 0.01  # of the side, standard deviation over which structure is averaged
OFFSET_BLUR = 0.06  # of the side, over which the drawing's colours are matched to the photo's
LEAST = 0.01  # smallest opacity of the drawing at which texture is added
DRAWN_ALONG = 0.14  # of the side, distance from a receding jaw up to which the photo moves along
BLURRED = 0.6  # px, standard deviation of the blur that stands for what bicubic interpolation takes away
SHARPENED = 0.6  # share of it that is given back per pixel of distance to a sample; keeps the energy of grain
TEMPLES = 0.35  # of the side, distance over which that ends at the temples
JAW_ENDS = (0, 16)  # dlib's landmarks: below the line through them a face borders on ears, neck and background


@dataclass(frozen=True)
class Warp:
    """The motion of a face's crop, at SIZE x SIZE pixels regardless of the network's size.

    Attributes:
        flow: [SIZE, SIZE, 2], offset of the source of each pixel; 0 where nothing moves.
        known: c, how far motion explains the edit, 0 to 1.
        shown: weight of the drawing, 0 to 1; 0 outside the outline of the edited face.
    """

    flow: np.ndarray
    known: np.ndarray
    shown: np.ndarray


def paste_warped(
    photo: np.ndarray,
    edited: np.ndarray,
    before: np.ndarray,
    face_to_photo: np.ndarray,
    landmarks: np.ndarray,
    mask: np.ndarray | None = None,
    warp: Warp | None = None,
) -> np.ndarray:
    """Move the photo's pixels as the edit moved those of the drawn face, and add the change.

    Where both drawings are equal, the photo keeps its exact values.

    Args:
        photo: uint8 [H, W, 3], or float32 from 0 to 255.
        edited: [R, R, 3], the drawn face after the edit.
        before: [R, R, 3], the drawn face before it.
        face_to_photo: float64 [3, 3].
        landmarks: [68, 2] of the unedited face in pixels of the drawn one; see :func:`face_in_photo`.
        mask: [R, R], where anything may change; None for everywhere.
        warp: of :func:`warp_of` with the same faces, landmarks and mask, which spares measuring it again.

    Returns:
        A new array like ``photo``; float32 is not rounded.

    Raises:
        ShapeError: pictures, landmarks or masks of another shape.
        UsageError: the face lies outside the photo.
    """
    size = checked_faces(photo, edited, before, mask)
    checked_landmarks(landmarks)
    photo_window(face_to_photo, size, photo.shape[:2])  # refuses a face outside the photo
    result = photo.copy()
    if np.array_equal(edited, before):
        return result
    to_photo = face_to_photo @ resized_square(SIZE, size)
    warp = warp_of(edited, before, landmarks, mask) if warp is None else warp
    face = resized(_outline(map_points(resized_square(size, SIZE), landmarks)), size)
    edited = within_own_colours(edited.astype(np.float32), before.astype(np.float32), face > 0.5)
    free = _free(mask)
    after, first = (resized(one.astype(np.float32), SIZE) for one in (edited, before))
    seen = without_fractions(photo)
    photo_below = glance(seen, to_photo, SIZE).astype(np.float32)
    offset = _offset(photo_below, first, warp)
    _compose(result, photo, to_photo, (edited, before), warp, offset)
    run_out(result, seen, _change(after, first, photo_below, warp, offset), warp.shown, to_photo, free)
    return result


def face_in_photo(photo: np.ndarray, face_to_photo: np.ndarray, size: int, alignment: Alignment) -> np.ndarray:
    """Landmarks of a photo's face, float64 [68, 2], in pixels of the drawn face of side ``size``."""
    crop = sample_square(photo, face_to_photo @ resized_square(SIZE, size), SIZE)
    return map_points(resized_square(SIZE, size), drawn_landmarks(crop, alignment))


def warp_of(edited: np.ndarray, before: np.ndarray, landmarks: np.ndarray, mask: np.ndarray | None = None) -> Warp:
    """What :func:`paste_warped` does to a photo, of whatever size that is; takes the same faces, landmarks and mask."""
    after, first = (resized(one.astype(np.float32), SIZE) for one in (edited, before))
    points = map_points(resized_square(len(edited), SIZE), checked_landmarks(landmarks))
    return measured_warp(after, first, points, _free(mask))


def measured_warp(after: np.ndarray, before: np.ndarray, landmarks: np.ndarray, mask: np.ndarray | None = None) -> Warp:
    """Measure the motion of a face, and where its drawing is needed.

    Args:
        after: float32 [SIZE, SIZE, 3] from 0 to 255, the drawn face after an edit.
        before: the same before it.
        landmarks: [68, 2] of ``before``.
        mask: [SIZE, SIZE], where motion and changes are allowed; None for everywhere.
    """
    free = edge_mask(SIZE) if mask is None else edge_mask(SIZE) * mask
    old = _outline(landmarks)
    motion = motion_between(after, before, old)
    points = carried_points(landmarks, motion, _inner(old))
    new = _outline(points)
    outline = _widened(new)
    flow = smoothed_flow(motion, outline)
    beside = _beside(flow, _widened(old), outline, landmarks)
    bound = max(UNEXPLAINED, CONTRAST * _structure(before, outline))
    known = _explained(after - moved(before, flow), motion, outline, bound)
    inside = cv2.erode(smooth_step(2 * new - 1), np.ones((3, 3), np.uint8))
    whole = beside + scaled(flow - beside, outline)
    return Warp(flow=scaled(whole, free), known=1 - (1 - known) * free, shown=inside * free)


def resized(picture: np.ndarray, size: int) -> np.ndarray:
    """Resize a square picture, float32 [S, S] or [S, S, C]: bicubic for enlarging, area means for reducing."""
    if len(picture) == size:
        return picture
    how = cv2.INTER_CUBIC if len(picture) < size else cv2.INTER_AREA
    return np.asarray(cv2.resize(picture, (size, size), interpolation=how))


def _free(mask: np.ndarray | None) -> np.ndarray | None:
    return None if mask is None else resized(mask.astype(np.float32), SIZE).clip(0, 1)


def _compose(
    result: np.ndarray,
    photo: np.ndarray,
    to_photo: np.ndarray,
    drawn: tuple[np.ndarray, np.ndarray],
    warp: Warp,
    offset: np.ndarray,
) -> None:
    """Write the photo after the edit to ``result``, where anything changes.

    ``drawn`` are the edited and the unedited face at the network's size, which may be finer than SIZE.
    """
    size = max(SIZE, len(drawn[0]))
    after, before = (resized(one.astype(np.float32), size) for one in drawn)
    flow, offset = (cv2.resize(one, (size, size)) for one in (warp.flow * (size / SIZE), offset))
    known, shown = (cv2.resize(one, (size, size)) for one in (warp.known, warp.shown))
    replaced = shown * (1 - known)  # share of the drawing in place of the moved photo
    added = scaled(after - scaled(moved(before, flow), known), shown) + scaled(offset, replaced)
    rows, columns = _changing(np.maximum(largest(flow), largest(added)))
    if rows.start == rows.stop:
        return
    corner = np.array([[1.0, 0, columns.start], [0, 1, rows.start], [0, 0, 1]])
    part_to_photo = to_photo @ resized_square(size, SIZE) @ corner
    try:
        window = photo_window(part_to_photo, (rows.stop - rows.start, columns.stop - columns.start), photo.shape[:2])
    except UsageError:
        return  # all that changes lies outside the photo
    step = flow[rows, columns] @ part_to_photo[:2, :2].T.astype(np.float32)  # in photo pixels
    smooth = np.dstack([step, replaced[rows, columns], shown[rows, columns]])
    step_x, step_y, gone, face = cv2.split(to_window(smooth, part_to_photo, window, cv2.INTER_LINEAR))
    x, y = pixel_grid(gone.shape[:2])
    seen = _looked_up(photo, x + step_x + window[1].start, y + step_y + window[0].start)
    pixel = float(np.hypot(*part_to_photo[:2, 0])) * size / len(drawn[0])  # the network's, in the photo's
    _remove_lines(seen, gone.clip(0, 1), face, pixel)
    how = cv2.INTER_LINEAR if len(drawn[0]) <= SIZE // 2 else cv2.INTER_CUBIC  # the former are enlarged already
    added = to_window(np.ascontiguousarray(added[rows, columns]), part_to_photo, window, how)
    result[window] = sum_like(photo, seen, added)


def _changing(change: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns where a picture [S, S] is not 0, and two pixels around them; empty if it is 0 everywhere."""
    rows, columns = (np.flatnonzero(change.max(axis=axis) > 1e-3) for axis in (1, 0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    row, column = (
        slice(max(0, int(at[0]) - 2), min(length, int(at[-1]) + 3))
        for at, length in zip((rows, columns), change.shape, strict=True)
    )
    return row, column


def _remove_lines(seen: np.ndarray, gone: np.ndarray, shown: np.ndarray, pixel: float) -> None:
    """Leave of a picture only its texture where ``gone`` is 1, in place.

    Args:
        seen: float32 [h, w, 3].
        gone: [h, w] from 0 to 1.
        shown: [h, w] from 0 to 1, where the face is.
        pixel: the network's, in pixels of the picture.
    """
    rows, columns = (np.flatnonzero(gone.max(axis=axis) > LEAST) for axis in (1, 0))
    if not len(rows):
        return
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    seen[part] = with_texture_only(seen[part], gone[part], shown[part] * (1 - gone[part]) > 0.5, pixel)


def _looked_up(photo: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sample the photo at positions (x, y), float32 [h, w, 3], with reflection padding.

    Bicubic interpolation blurs most halfway between pixels and not at all on them. What it takes from the finest octave
    of luminance is given back accordingly: moved skin keeps its grain, in a fifth of the time of Lanczos interpolation.
    """
    height, width = photo.shape[:2]
    left, top = min(max(0, int(x.min()) - 4), width - 1), min(max(0, int(y.min()) - 4), height - 1)
    part = photo[top : int(y.max()) + 5, left : int(x.max()) + 5]
    moved = cv2.remap(part, x - left, y - top, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    bright = cv2.cvtColor(moved, cv2.COLOR_RGB2GRAY).astype(np.float32)
    between = np.abs(x - np.rint(x)) + np.abs(y - np.rint(y))
    sharper = SHARPENED * between * (bright - cv2.GaussianBlur(bright, (3, 3), BLURRED))
    return np.asarray(cv2.add(moved, cv2.merge([sharper] * 3), dtype=cv2.CV_32F))


def _offset(below: np.ndarray, before: np.ndarray, warp: Warp) -> np.ndarray:
    """The smooth colour offset from drawing to photo, estimated where both show the same; [SIZE, SIZE, 3]."""
    weight = warp.known * warp.shown + 1e-4
    return spread(moved(below - before, warp.flow), weight, OFFSET_BLUR * SIZE)


def _change(after: np.ndarray, before: np.ndarray, below: np.ndarray, warp: Warp, offset: np.ndarray) -> np.ndarray:
    """The change that is added to the moved photo, in levels, [SIZE, SIZE, 3]."""
    explained = after - moved(before, warp.flow)
    replaced = after + offset - moved(below, warp.flow)
    return np.asarray(replaced + scaled(explained - replaced, warp.known), np.float32)


def _structure(drawn: np.ndarray, outline: np.ndarray) -> float:
    """The amount of fine structure in a drawn face, in levels."""
    fine = square_sum(_fine(drawn, outline)) / 3
    return math.sqrt(float((fine * outline).sum() / max(1.0, outline.sum())))


def _fine(drawn: np.ndarray, outline: np.ndarray) -> np.ndarray:
    return np.asarray(drawn - spread(drawn, outline + 0.01, FINE_STRUCTURE * SIZE))


def _explained(left: np.ndarray, motion: Motion, outline: np.ndarray, bound: float) -> np.ndarray:
    """c from the residual of motion, [SIZE, SIZE, 3]: 1 where it is small or only colour, 0 where it is structure."""
    fine = _fine(left, outline)
    unexplained = np.sqrt(blurred(square_sum(fine) / 3, PATCH * SIZE)) / bound
    # trust is exp(-d^2): the same kind of bound, twice as far and as steep as the other
    astray = -np.log(np.maximum(motion.trust, 1e-12)) / 4
    known = np.exp(-(unexplained**4)) * np.exp(-(blurred(astray, PATCH * SIZE) ** 2))
    return np.asarray(1 - (1 - blurred(known, PATCH * SIZE)) * motion.changed, np.float32)


def _beside(flow: np.ndarray, old: np.ndarray, new: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The flow extended outside the new outline where the jaw recedes, falling to 0."""
    receding = blurred(cv2.dilate(np.maximum(old - new, 0), np.ones((7, 7), np.uint8)), 0.03 * SIZE)
    away = cv2.distanceTransform((old <= 0.5).astype(np.uint8), cv2.DIST_L2, 5) / SIZE
    weight = smooth_step(4 * receding) * smooth_step(1 - away / DRAWN_ALONG) * _below_temples(landmarks)
    return scaled(spread(flow, np.square(new) + 1e-6, 0.04 * SIZE), weight)


def _below_temples(landmarks: np.ndarray) -> np.ndarray:
    """1 on the chin's side of the line through JAW_ENDS, falling to 0 on the other side, [SIZE, SIZE]."""
    left, right = landmarks[list(JAW_ENDS)]
    along = (right - left) / max(1e-6, float(np.hypot(*(right - left))))
    x, y = pixel_grid((SIZE, SIZE))
    below = ((y - left[1]) * along[0] - (x - left[0]) * along[1]) / SIZE
    return smooth_step(below / TEMPLES + 0.9)  # mostly above the line, so that the temples recede without a notch


def _outline(landmarks: np.ndarray) -> np.ndarray:
    """The mask of the face, [SIZE, SIZE], drawn at low resolution because its edge is soft."""
    coarse = SIZE // 4
    mask = region_mask(["face"], map_points(resized_square(SIZE, coarse), landmarks), coarse)
    return np.asarray(resized(mask, SIZE).clip(0, 1))


def _widened(outline: np.ndarray) -> np.ndarray:
    side = 2 * round(MARGIN * SIZE) + 1
    return np.asarray(cv2.dilate(outline, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))))


def _inner(outline: np.ndarray) -> np.ndarray:
    """The inner part of the face, without the uncertain area at its outline."""
    side = 2 * round(2 * MARGIN * SIZE) + 1
    hard = (outline > 0.5).astype(np.float32)
    return np.asarray(cv2.erode(hard, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))))
