"""Samples squares of any size, rotation and position from a photo, without aliasing.

Plain interpolation reads only a few pixels around each sample, so that hair becomes noise when the photo is reduced,
which an inversion then tries to reproduce. Here, a pixel of a reduced square is the mean of the area that it covers.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from relatent.core.errors import ShapeError

# A photo is first reduced by the largest integer factor that leaves at least this many pixels per square pixel and
# axis; the slower supersampling then works on the reduced copy.
KEPT_PIXELS = 3
BAND_PIXELS = 2_000_000  # supersampled pixels in memory at a time
KERNEL_REACH = 3  # pixels that a bicubic kernel reads beyond a sample, rounded up


def check_photo(pixels: np.ndarray, *, fractions: bool = False) -> None:
    """Check that a photo is uint8 [H, W, 3] with at least one pixel; with ``fractions``, it may be float32.

    Raises:
        ShapeError: another type or shape.
    """
    types = (np.uint8, np.float32) if fractions else (np.uint8,)
    if pixels.dtype not in types or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise ShapeError(
            f"the photo is {pixels.dtype} {list(pixels.shape)}; "
            "expected uint8 [H, W, 3], as relatent.core.images.read_photo gives it."
        )


def levels_like(photo: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values clipped to 0 to 255; rounded if the photo is uint8, and with their fractions if it is float32."""
    values = values.clip(0, 255)
    return np.asarray(np.rint(values).astype(np.uint8) if photo.dtype == np.uint8 else values.astype(np.float32))


def sum_like(photo: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """:func:`levels_like` of the sum of two pictures of any kind, faster."""
    if photo.dtype == np.uint8:
        return np.asarray(cv2.add(one, other, dtype=cv2.CV_8U))  # rounds and clips
    return levels_like(photo, cv2.add(one, other, dtype=cv2.CV_32F))


def without_fractions(photo: np.ndarray) -> np.ndarray:
    """A photo as uint8."""
    return photo if photo.dtype == np.uint8 else np.rint(photo).astype(np.uint8)


def square_matrix(centre: np.ndarray, half: np.ndarray, size: int) -> np.ndarray:
    """The matrix from pixels of a square to pixels of the photo, float64 [3, 3].

    Convention:
        points are (x, y) columns; (0, 0) is the centre of the top-left pixel, of the square and of the photo;
        the outer edges of the square, -0.5 and size - 0.5, are mapped to ``centre`` -+ its half axes;
        the y half axis is the x half axis rotated by +90 degrees (down, where x points right).

    Args:
        centre: (x, y) of the square's centre in photo pixels.
        half: (x, y) from the centre to the middle of the square's right edge, in photo pixels.
        size: side of the square in pixels.
    """
    x_step = np.asarray(half, np.float64) * 2 / size  # one square pixel to the right, in photo pixels
    y_step = np.array([-x_step[1], x_step[0]])
    matrix = np.eye(3)
    matrix[:2, 0], matrix[:2, 1] = x_step, y_step
    matrix[:2, 2] = np.asarray(centre, np.float64) - (size - 1) / 2 * (x_step + y_step)
    return matrix


def map_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply an affine matrix [3, 3] to points (x, y), [N, 2]; float64 [N, 2]."""
    return np.asarray(points, np.float64) @ matrix[:2, :2].T + matrix[:2, 2]


def sample_square(pixels: np.ndarray, square_to_photo: np.ndarray, size: int) -> np.ndarray:
    """Sample a square from the photo, with reflection padding outside.

    Only the part of the photo below the square (and what is reflected) is read or copied, so the cost depends on the
    size of the face and not of the photo.

    Args:
        pixels: uint8 [H, W, 3].
        square_to_photo: float64 [3, 3] from `square_matrix`.
        size: side of the result in pixels.

    Returns:
        uint8 [size, size, 3]: area means if the square is reduced, bicubic if it is enlarged.
    """
    crop, (left, top) = _crop_below(pixels, square_to_photo, size)
    step = math.hypot(*square_to_photo[:2, 0])  # photo pixels per square pixel
    factor = max(1, int(step / KEPT_PIXELS))
    crop = _reduce(crop, factor)
    to_photo = np.array([[factor, 0, left + (factor - 1) / 2], [0, factor, top + (factor - 1) / 2], [0, 0, 1]])
    return _supersample(crop, np.linalg.inv(to_photo) @ square_to_photo, size, step / factor)


def glance(pixels: np.ndarray, square_to_photo: np.ndarray, size: int) -> np.ndarray:
    """As :func:`sample_square`, in a fifth of the time: for what is smoothed or only compared afterwards.

    Shrinking averages whole pixels, the rest is bilinear.
    """
    crop, (left, top) = _crop_below(pixels, square_to_photo, size)
    factor = max(1, int(math.hypot(*square_to_photo[:2, 0])))
    crop = _reduce(crop, factor)
    to_photo = np.array([[factor, 0, left + (factor - 1) / 2], [0, factor, top + (factor - 1) / 2], [0, 0, 1]])
    matrix = np.linalg.inv(to_photo) @ square_to_photo
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(crop, matrix[:2], (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT))


def _crop_below(pixels: np.ndarray, matrix: np.ndarray, size: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The part of the photo that a square reads, as a view, and its (left, top)."""
    edges = np.array([-0.5, size - 0.5])
    corners = map_points(matrix, np.array([(x, y) for x in edges for y in edges]))
    reach = KERNEL_REACH * (1 + math.hypot(*matrix[:2, 0]))
    spans = [
        _span(low, high, length)
        for low, high, length in zip(
            corners.min(axis=0) - reach, corners.max(axis=0) + reach, pixels.shape[1::-1], strict=True
        )
    ]
    (left, right), (top, bottom) = spans
    return pixels[top:bottom, left:right], (left, top)


def _span(low: float, high: float, length: int) -> tuple[int, int]:
    """The range within 0..length that low..high reads when it is reflected at 0 and at length."""
    first, last = math.floor(low), math.ceil(high) + 1
    mirrored = max(-first, last - length, 0)  # depth inside equal to the part outside
    if first < 0 and last > length:
        return 0, length
    if first < 0:
        return 0, min(length, max(last, mirrored, 1))
    if last > length:
        return max(0, min(first, length - mirrored, length - 1)), length
    return first, last


def _reduce(crop: np.ndarray, factor: int) -> np.ndarray:
    """Means of factor x factor pixels; the last ones of a photo are completed by mirroring."""
    if factor == 1:
        return crop
    height, width = crop.shape[:2]
    missing_y, missing_x = -height % factor, -width % factor
    if missing_y or missing_x:
        crop = cv2.copyMakeBorder(crop, 0, missing_y, 0, missing_x, cv2.BORDER_REFLECT)
    size = (crop.shape[1] // factor, crop.shape[0] // factor)
    return np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA))


def _supersample(crop: np.ndarray, matrix: np.ndarray, size: int, step: float) -> np.ndarray:
    """The square from a reduced crop: n x n bicubic samples a pixel, averaged, a band of rows at a time.

    n is the least number for which samples are no further apart than the crop's pixels, so none is
    skipped; where the square enlarges, n is 1 and this is plain bicubic interpolation.
    """
    n = max(1, math.ceil(step - 1e-6))
    fine = matrix @ np.array([[1 / n, 0, (1 / n - 1) / 2], [0, 1 / n, (1 / n - 1) / 2], [0, 0, 1]])
    rows = max(1, BAND_PIXELS // (size * n * n))
    bands = []
    for top in range(0, size, rows):
        count = min(rows, size - top)
        offset = fine @ np.array([[1, 0, 0], [0, 1, top * n], [0, 0, 1]])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        band = cv2.warpAffine(crop, offset[:2], (size * n, count * n), flags=flags, borderMode=cv2.BORDER_REFLECT)
        bands.append(_means(band, (size, count)) if n > 1 else band)
    return np.concatenate(bands)


def _means(band: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 area means; computed as floats, because cv2 rounds means of 2 x 2 bytes upwards."""
    means = cv2.resize(band.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(np.rint(means).clip(0, 255).astype(np.uint8))
