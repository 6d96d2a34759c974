"""The identity distance of two faces, measured with dlib's face recognition network."""

from __future__ import annotations

import numpy as np

from relatent.core.alignment import Alignment
from relatent.face.landmarks import describe, find_faces, predict_landmarks
from relatent.face.sampling import check_photo

SAME_PERSON = 0.6  # dlib takes smaller distances for one person
# The box of dlib's detector in an FFHQ crop (left, top, right, bottom), relative to the side of the crop: the mean over
# 200 FairFace pictures, converted from their alignment to that of FFHQ.
FFHQ_BOX = (0.23, 0.32, 0.79, 0.88)


def identity_distance(
    a: np.ndarray,
    b: np.ndarray,
    landmarks: np.ndarray | None = None,
    *,
    alignment: Alignment | None = None,
) -> float | None:
    """Euclidean distance between the descriptors of two aligned faces; smaller is more similar.

    Faces are detected in each picture. If the detector fails for one of them (reconstructions are small, and some are
    bad), landmarks are predicted at the position of the face in the other, because both are aligned. If it fails for
    both, they are predicted at the position that ``alignment`` implies.

    Args:
        a: uint8 [H, W, 3], RGB.
        b: uint8 [H', W', 3], RGB, the same crop at any size.
        landmarks: [68, 2] in pixels of ``a`` if known; used for both pictures, without detection.
        alignment: of both crops, used if detection fails for both.

    Returns:
        0 for equal pictures; below 0.6 for the same person by dlib's threshold; None if detection fails for both
        pictures and ``alignment`` is not given.

    Raises:
        ShapeError: a picture or landmarks of another type or shape.
    """
    check_photo(a)
    check_photo(b)
    if landmarks is not None:
        return _distance(a, landmarks, b, _carry(landmarks, a, b))
    found_a, found_b = find_faces(a, tilted=False), find_faces(b, tilted=False)
    if not found_a and not found_b:
        if alignment is None:
            return None
        boxes = [aligned_box(alignment, picture.shape[:2]) for picture in (a, b)]
        return _distance(a, predict_landmarks(a, boxes[0]), b, predict_landmarks(b, boxes[1]))
    points_a = found_a[0].landmarks if found_a else _predict_like(a, found_b[0].box, b)
    points_b = found_b[0].landmarks if found_b else _predict_like(b, found_a[0].box, a)
    return _distance(a, points_a, b, points_b)


def aligned_box(alignment: Alignment, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The expected box of dlib's detector in an aligned face.

    Convention:
        (left, top, right, bottom) in pixels, (0, 0) the centre of the top-left pixel.

    Args:
        alignment: of the crop.
        size: (height, width) of the crop in pixels.
    """
    middle = (0.5, 0.5 + alignment.shift)  # of this crop, in shares of the FFHQ crop
    shares = [(edge - middle[index % 2]) / alignment.scale + 0.5 for index, edge in enumerate(FFHQ_BOX)]
    left, top, right, bottom = (share * size[1 - index % 2] - 0.5 for index, share in enumerate(shares))
    return left, top, right, bottom


def _distance(a: np.ndarray, points_a: np.ndarray, b: np.ndarray, points_b: np.ndarray) -> float:
    return float(np.linalg.norm(describe(a, points_a) - describe(b, points_b)))


def _carry(points: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Convert points (x, y), [K, 2], from one picture to the same picture at another size."""
    scale = np.array(target.shape[1::-1]) / np.array(source.shape[1::-1])
    return (np.asarray(points, np.float64) + 0.5) * scale - 0.5


def _predict_like(pixels: np.ndarray, box: tuple[float, float, float, float], source: np.ndarray) -> np.ndarray:
    """Landmarks of a face at the same position as ``box`` in ``source``."""
    (left, top), (right, bottom) = _carry(np.reshape(box, (2, 2)), source, pixels)
    return predict_landmarks(pixels, (float(left), float(top), float(right), float(bottom)))
