"""Finding faces, on scikit-image's astronaut and on pictures without one."""

import importlib
import importlib.util
import json
import math
import subprocess
import sys
import zipfile
from functools import cache
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

from relatent.core.alignment import Alignment
from relatent.core.errors import FaceNotFoundError, ShapeError, UsageError
from relatent.core.images import read_photo
from relatent.face import Face, align_face, choose_faces, face_to_photo_matrix, find_faces
from relatent.face import landmarks as landmarks_module
from relatent.face.sampling import map_points
from relatent.face.views import Square, View, square_in_photo, tiles, turned_view, upright_view, without_repeats

ROOT = Path(__file__).parents[3]
SHARED_FACES = ROOT.parent / "shared" / "faces" / "fairface-128.zip"
# Read off the astronaut by eye, (x, y): pupils and mouth corners, as the picture shows them.
LEFT_PUPIL, RIGHT_PUPIL, LEFT_MOUTH, RIGHT_MOUTH = (203.5, 101), (246, 103.5), (202.5, 140), (245, 140.5)


@cache
def astronaut():
    return skimage.data.astronaut()


@cache
def astronaut_faces():
    return find_faces(astronaut())


def resized(pixels, side):
    return cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)


def turned(pixels, degrees):
    """The picture turned clockwise on a larger canvas, and the matrix from old to new points."""
    side = len(pixels)
    canvas = math.ceil(side * 1.42)
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), -degrees, 1)
    matrix[:, 2] += (canvas - side) / 2
    return cv2.warpAffine(pixels, matrix, (canvas, canvas), borderValue=(190, 180, 170)), matrix


def middle_of(face):
    return face.landmarks.mean(axis=0)


def test_one_face_and_its_landmarks():
    (face,) = astronaut_faces()
    points = face.landmarks
    assert points.shape == (68, 2)
    assert points.dtype == np.float64
    np.testing.assert_allclose(points[36:42].mean(axis=0), LEFT_PUPIL, atol=3)
    np.testing.assert_allclose(points[42:48].mean(axis=0), RIGHT_PUPIL, atol=3)
    np.testing.assert_allclose(points[48], LEFT_MOUTH, atol=4)
    np.testing.assert_allclose(points[54], RIGHT_MOUTH, atol=4)
    left, top, right, bottom = face.box
    assert face.area == pytest.approx((right - left) * (bottom - top))
    assert left < 200 < 250 < right
    assert face.score > 0.9


def test_aligned_astronaut_has_its_eyes_in_their_places():
    (face,) = astronaut_faces()
    aligned = align_face(astronaut(), face.landmarks, Alignment(), 256)
    eyes = map_points(aligned.photo_to_face, np.array([LEFT_PUPIL, RIGHT_PUPIL]))
    # FFHQ: the eyes lie level, symmetric, and a little above the middle.
    np.testing.assert_allclose(eyes.mean(axis=0), (127.5, 119), atol=6)
    assert abs(eyes[0, 1] - eyes[1, 1]) < 6
    for x, y in eyes:  # pupils are dark, the bridge of the nose between them is not
        dark = aligned.image[round(y) - 6 : round(y) + 7, round(x) - 8 : round(x) + 9].min()
        assert dark < 70
    assert aligned.image[round(eyes[0, 1]), 124:132].mean() > 110


@pytest.mark.parametrize("degrees", [40, 90])
def test_tilted_faces(degrees):
    photo, matrix = turned(resized(astronaut()[:320, 60:380], 260), degrees)
    (face,) = find_faces(photo)
    expected = (astronaut_faces()[0].landmarks - (60, 0) + 0.5) * 260 / 320 - 0.5
    expected = expected @ matrix[:, :2].T + matrix[:, 2]
    error = np.hypot(*(face.landmarks - expected).T)
    assert error.mean() < 2.0  # the face is 75 pixels wide
    linear = face_to_photo_matrix(face.landmarks, Alignment(), 64)
    assert math.degrees(math.atan2(linear[1, 0], linear[0, 0])) == pytest.approx(degrees, abs=4)


@pytest.mark.parametrize("side", [90, 230])
def test_small_faces(side):
    (face,) = find_faces(resized(astronaut(), side))
    expected = (astronaut_faces()[0].landmarks + 0.5) * side / 512 - 0.5
    assert np.hypot(*(face.landmarks - expected).T).mean() < 0.02 * side


def test_an_aligned_crop_of_64_pixels():
    crop = align_face(astronaut(), astronaut_faces()[0].landmarks, Alignment(0.62, 0.08), 64)
    (face,) = find_faces(crop.image)
    expected = map_points(crop.photo_to_face, astronaut_faces()[0].landmarks)
    assert np.hypot(*(face.landmarks - expected).T).mean() < 1.5


def test_several_faces_come_largest_first():
    canvas = np.full((620, 1000, 3), 128, np.uint8)
    places = ((0, 30, 400), (420, 300, 300), (600, 20, 260))  # left, top, side
    for left, top, side in places:
        canvas[top : top + side, left : left + side] = resized(astronaut(), side)
    faces = find_faces(np.kron(canvas, np.ones((2, 2, 1), np.uint8)))
    assert len(faces) == 3
    for face, (left, top, side) in zip(faces, places, strict=True):
        np.testing.assert_allclose(middle_of(face) / 2, (left + 0.44 * side, top + 0.25 * side), atol=0.06 * side)
    assert faces[0].area > faces[1].area > faces[2].area


def test_small_faces_beside_a_large_one_in_a_large_photo():
    canvas = np.full((1800, 3000, 3), 128, np.uint8)
    places = [(100, 100, 1600), *((1800 + 400 * x, 60 + 600 * y, 560 - 30 * y) for x in range(3) for y in range(3))]
    for left, top, side in places:
        canvas[top : top + side, left : left + min(side, 390)] = resized(astronaut(), side)[:, : min(side, 390)]
    canvas[100:1700, 100:1700] = cv2.resize(astronaut(), (1600, 1600), interpolation=cv2.INTER_CUBIC)
    faces = find_faces(canvas)
    assert len(faces) == 10
    for left, top, side in places:
        near = [np.hypot(*(middle_of(face) - (left + 0.44 * side, top + 0.25 * side))) < 0.06 * side for face in faces]
        assert sum(near) == 1


GROUP = ROOT.parent / "shared" / "cases" / "group-10-faces-4032x3024.jpg"


@pytest.mark.skipif(not GROUP.exists(), reason="the group photo is not here")
def test_all_ten_of_a_group():
    assert len(find_faces(read_photo(GROUP).pixels)) == 10


@pytest.mark.parametrize("name", ["noise", "coffee", "chelsea", "flat", "tiny"])
def test_no_face(name):
    if name in ("coffee", "chelsea"):
        photo = getattr(skimage.data, name)()[::2, ::2]
    elif name == "noise":
        photo = np.random.default_rng(0).integers(0, 256, (150, 200, 3), dtype=np.uint8)
    else:
        photo = np.full((60, 300, 3) if name == "flat" else (1, 1, 3), 128, np.uint8)
    assert find_faces(photo) == []


def test_untilted_search_leaves_a_lying_face_alone():
    assert find_faces(np.rot90(astronaut()[:256, 96:352]), tilted=False) == []


@pytest.mark.parametrize("bad", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((0, 9, 3), np.uint8)])
def test_foreign_pixels_are_refused(bad):
    with pytest.raises(ShapeError, match="uint8"):
        find_faces(bad)


HUGE = """
import json, re, sys, time
import numpy as np, skimage.data
from relatent.core.alignment import Alignment
from relatent.face import align_face, find_faces
assert "dlib" not in sys.modules, "importing face must not import dlib"
photo = np.full((10_000, 10_000, 3), 90, np.uint8)
photo[3000:7096, 2000:6096] = skimage.data.astronaut().repeat(8, axis=0).repeat(8, axis=1)
start = time.process_time()
(face,) = find_faces(photo)
aligned = align_face(photo, face.landmarks, Alignment(), 256)
seconds = time.process_time() - start
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1)) * 1024
print(json.dumps({"eyes": face.landmarks[36:48].mean(axis=0).tolist(), "peak": peak, "seconds": seconds}))
"""


# Linux's getrusage would count what the process that started this one held at that moment: a whole suite's memory.
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read as Linux tells it")
def test_a_photo_of_100_megapixels():
    done = subprocess.run([sys.executable, "-c", HUGE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    expected = (np.mean([LEFT_PUPIL, RIGHT_PUPIL], axis=0) + 0.5) * 8 - 0.5 + (2000, 3000)
    np.testing.assert_allclose(result["eyes"], expected, atol=24)
    assert result["peak"] < 2e9


@pytest.mark.skipif(not SHARED_FACES.exists(), reason="the FairFace pictures are not here")
def test_faces_aligned_by_others_are_aligned_already():
    with zipfile.ZipFile(SHARED_FACES) as archive:
        pictures = [np.asarray(Image.open(BytesIO(archive.read(f"val/{n:05d}.webp"))).convert("RGB")) for n in range(6)]
    matrices = [face_to_photo_matrix(find_faces(p)[0].landmarks, Alignment(0.62, 0.08), 128) for p in pictures]
    for matrix in matrices:
        np.testing.assert_allclose(matrix[:2, :2], np.eye(2), atol=0.08)
        centre = map_points(matrix, np.array([(63.5, 63.5)]))[0]
        np.testing.assert_allclose(centre, (63.5, 63.5), atol=3)
    # One face by itself is a matter of a detector's grid; together they must not lean to any side.
    np.testing.assert_allclose(np.mean(matrices, axis=0), np.eye(3), atol=1.5)


@pytest.mark.parametrize("size", [(90, 140), (401, 300), (700, 1203)])
def test_tiles_hold_every_place_whole_and_know_where_they_lie(size):
    height, width = size
    photo = np.zeros((height, width, 3), np.uint8)
    photo[..., 0], photo[..., 1] = np.arange(height)[:, None] // 8, np.arange(width) // 8
    view = View(photo, np.diag([2.0, 2.0, 1.0]))
    found = list(tiles(view, 300, 100))
    for tile in found:
        left, top = (map_points(tile.to_photo, np.zeros((1, 2)))[0] / 2).astype(int)
        h, w = tile.pixels.shape[:2]
        assert np.array_equal(tile.pixels, photo[top : top + h, left : left + w])
    spans = [((map_points(tile.to_photo, np.zeros((1, 2)))[0] / 2).astype(int), tile.pixels.shape) for tile in found]
    for x in range(0, width - 99, 7):
        for y in range(0, height - 99, 7):
            assert any(a <= x and x + 100 <= a + s[1] and b <= y and y + 100 <= b + s[0] for (a, b), s in spans)


def square(x, y, radius, score):
    return Square(np.array([x, y], float), np.array([radius, 0.0]), score)


def test_repeats_keep_the_surest():
    squares = [square(50, 50, 20, 0.5), square(55, 48, 24, 1.2), square(110, 50, 20, 0.1)]
    assert [s.score for s in without_repeats(squares, lambda s: s)] == [1.2, 0.1]


@pytest.mark.parametrize("degrees", [30, -90, 180])
def test_views_map_back_exactly(degrees):
    photo = np.zeros((60, 100, 3), np.uint8)
    photo[19:22, 69:72] = 255  # a dot with its middle at (70, 20)
    view = turned_view(upright_view(photo, 400), degrees)
    weight = view.pixels[..., 0] * (view.pixels[..., 0] > 60.0)
    y, x = np.indices(weight.shape)
    there = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
    found = square_in_photo(view, (there[0] - 8, there[1] - 8, there[0] + 8, there[1] + 8), 1.0)
    np.testing.assert_allclose(found.centre, (70, 20), atol=0.1)
    assert found.radius == pytest.approx(2)
    assert math.degrees(math.atan2(found.half[1], found.half[0])) % 360 == pytest.approx(degrees % 360)


def some_faces(count):
    return [Face(np.zeros((68, 2)), (0.0, 0.0, 9.0 - n, 9.0), 1.0) for n in range(count)]


def test_choosing():
    faces = some_faces(3)
    assert choose_faces(faces, "largest", "p.jpg", (8, 8)) == faces[:1]
    assert choose_faces(faces, "all", "p.jpg", (8, 8)) == faces
    assert choose_faces(faces, 2, "p.jpg", (8, 8)) == faces[1:2]


@pytest.mark.parametrize("which", ["largest", "all", 1])
def test_no_face_says_what_to_do(which):
    with pytest.raises(FaceNotFoundError) as caught:
        choose_faces([], which, "party.jpg", (4032, 3024))
    assert str(caught.value) == (
        "no face found in party.jpg (4032 x 3024). If the face is small or turned away, crop closer, "
        "or use --no-align with an aligned square."
    )


@pytest.mark.parametrize(("count", "words"), [(1, "only 1 face was found"), (2, "only 2 faces were found")])
def test_a_number_beyond_the_count_fails_the_photo_alone(count, words):
    with pytest.raises(FaceNotFoundError, match=rf"{words} in p.jpg \(8 x 8\), but face 3"):
        choose_faces(some_faces(count), 3, "p.jpg", (8, 8))


@pytest.mark.parametrize("which", ["smallest", 0, -1, True, None, 1.0])
def test_a_choice_that_means_nothing_is_wrong_usage(which):
    with pytest.raises(UsageError, match="largest, all, or a number"):
        choose_faces(some_faces(2), which, "p.jpg", (8, 8))


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install face_recognition_models"):
        landmarks_module.model_folder()

    def refuse(name, *rest):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", refuse)
    landmarks_module._detector.cache_clear()
    with pytest.raises(UsageError, match="pip install dlib-bin"):
        find_faces(np.zeros((20, 20, 3), np.uint8))


def test_a_damaged_model_is_named(monkeypatch, tmp_path):
    (tmp_path / landmarks_module.PREDICTOR_FILE).write_bytes(b"no model")
    monkeypatch.setattr(landmarks_module, "model_folder", lambda: tmp_path)
    with pytest.raises(UsageError, match="damaged"):
        landmarks_module._from_file("shape_predictor", landmarks_module.PREDICTOR_FILE)
