"""How much two faces look like one person, by dlib's recognition network."""

from __future__ import annotations

import numpy as np

from relatent.core.alignment import Alignment
from relatent.face.landmarks import describe, find_faces, predict_landmarks
from relatent.face.sampling import check_photo

# Where dlib's detector sees the face in an FFHQ crop, as shares of the crop's side: the mean over 200
# FairFace pictures, carried over from their alignment to FFHQ's. (left, top, right, bottom)
FFHQ_BOX = (0.23, 0.32, 0.79, 0.88)


def identity_distance(
    a: np.ndarray,
    b: np.ndarray,
    landmarks: np.ndarray | None = None,
    *,
    alignment: Alignment | None = None,
) -> float | None:
    """Euclidean distance between the descriptors of two aligned faces; lower is more alike.

    Landmarks are found in each picture. Where the detector sees no face in one (reconstructions are
    small, and some are bad), they are predicted at the place the other picture's face has, since aligned
    faces lie alike; where it sees none in either, at the place ``alignment`` implies.

    Args:
        a: uint8 [H, W, 3], RGB.
        b: uint8 [H', W', 3], RGB, the same crop at any size.
        landmarks: [68, 2] in pixels of ``a`` if already known; used for both pictures, and nothing is searched.
        alignment: how both were cropped, for the last resort.

    Returns:
        0 for equal pictures; under 0.6 for one person by dlib's own threshold; None when neither picture
        shows a face and ``alignment`` is not given.

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
    """Where dlib's detector would put its box in a face aligned like this.

    Convention:
        (left, top, right, bottom) in pixels, (0, 0) the centre of the top-left pixel.

    Args:
        alignment: the crop's.
        size: (height, width) of the crop in pixels.
    """
    middle = (0.5, 0.5 + alignment.shift)  # of this crop, in shares of the FFHQ crop
    shares = [(edge - middle[index % 2]) / alignment.scale + 0.5 for index, edge in enumerate(FFHQ_BOX)]
    left, top, right, bottom = (share * size[1 - index % 2] - 0.5 for index, share in enumerate(shares))
    return left, top, right, bottom


def _distance(a: np.ndarray, points_a: np.ndarray, b: np.ndarray, points_b: np.ndarray) -> float:
    return float(np.linalg.norm(describe(a, points_a) - describe(b, points_b)))


def _carry(points: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Points (x, y), [K, 2], of one picture at the same place of another size of it."""
    scale = np.array(target.shape[1::-1]) / np.array(source.shape[1::-1])
    return (np.asarray(points, np.float64) + 0.5) * scale - 0.5


def _predict_like(pixels: np.ndarray, box: tuple[float, float, float, float], source: np.ndarray) -> np.ndarray:
    """Landmarks of a picture whose face lies where ``box`` lies in ``source``."""
    (left, top), (right, bottom) = _carry(np.reshape(box, (2, 2)), source, pixels)
    return predict_landmarks(pixels, (float(left), float(top), float(right), float(bottom)))
