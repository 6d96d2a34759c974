"""Scores rise with what they are named after, and with nothing that a turn, a shift or a size changes."""

import csv
import zipfile
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_landmarks import neutral_face

from editing.attributes import scores
from editing.attributes.scores import FacePoints, by_points
from relatent.core.alignment import Alignment
from relatent.core.errors import ShapeError
from relatent.core.images import read_photo, square
from relatent.face import face_to_photo_matrix
from relatent.face.regions import region_mask
from relatent.face.sampling import map_points

GEOMETRY = [scores.smile, scores.mouth_open, scores.eyes_open, scores.yaw, scores.pitch]
CORNERS, UPPER_INNER, LOWER_INNER = [48, 54], [61, 62, 63], [65, 66, 67]


def changed(rows, x=0.0, y=0.0):
    face = neutral_face()
    face[rows] += (x, y)
    return face


def pair(score, face):
    """The score of a changed face and of the neutral one."""
    return score(np.stack([face, neutral_face()]))


def test_a_wide_mouth_with_raised_corners_smiles():
    wide = neutral_face()
    wide[48, 0], wide[54, 0] = wide[48, 0] - 5, wide[54, 0] + 5
    wider, neutral = pair(scores.smile, wide)
    raised, _ = pair(scores.smile, changed(CORNERS, y=-4))
    assert wider > neutral + 0.1
    assert raised > neutral + 0.02


def test_open_lips_open_the_mouth_and_do_not_smile():
    face = changed(LOWER_INNER, y=8)
    opened, closed = pair(scores.mouth_open, face)
    assert opened == pytest.approx(closed + 8 / 40)
    assert pair(scores.smile, face)[0] == pair(scores.smile, face)[1]


def test_lids_apart_open_the_eyes():
    opened, neutral = pair(scores.eyes_open, changed([37, 38, 43, 44], y=-2))
    assert opened == pytest.approx(neutral * 1.5)


def test_a_nose_to_the_right_is_positive_yaw_and_its_mirror_negative():
    turned, straight = pair(scores.yaw, changed(range(27, 36), x=6))
    back, _ = pair(scores.yaw, changed(range(27, 36), x=-6))
    assert straight == pytest.approx(0)
    assert turned == pytest.approx(-back)
    assert turned > 0.05


def test_a_low_nose_is_positive_pitch():
    low, neutral = pair(scores.pitch, changed(range(27, 36), y=4))
    assert low > neutral + 0.02


@pytest.mark.parametrize("score", GEOMETRY, ids=lambda score: score.__name__)
def test_geometry_ignores_place_size_and_tilt(score):
    face = changed(CORNERS, x=1, y=-2)
    angle = np.radians(25)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert score((face @ turn.T * 3 + 17)[None]) == pytest.approx(score(face[None]))


@pytest.mark.parametrize("score", GEOMETRY, ids=lambda score: score.__name__)
def test_unknown_landmarks_score_nan_and_spoil_no_other(score):
    faces = np.stack([neutral_face(), np.full((68, 2), np.nan)])
    found = score(faces)
    assert np.isfinite(found[0])
    assert np.isnan(found[1])


def drawn(left=(200, 150, 120), right=None, brow=None, size=100):
    """A picture of one colour on each side, with brows of another."""
    picture = np.zeros((size, size, 3), np.uint8)
    picture[:, : size // 2], picture[:, size // 2 :] = left, right or left
    for rows in (slice(17, 22), slice(22, 27)):
        line = neutral_face()[rows].round().astype(np.int32)
        cv2.polylines(picture, [line], False, brow or left, 5)
    return picture


def colours(score, *pictures):
    return score(np.stack(pictures), np.stack([neutral_face()] * len(pictures)))


def test_lighter_cheeks_are_a_lighter_skin_tone():
    dark, light = colours(scores.skin_tone, drawn((110, 75, 55)), drawn((235, 200, 180)))
    assert dark < 0 < light  # L* 50 is the middle of the scale


def test_light_from_the_right_makes_the_right_cheek_lighter():
    lit, even, other = colours(
        scores.light_from_right,
        drawn((100, 80, 70), (220, 190, 170)),
        drawn(),
        drawn((220, 190, 170), (100, 80, 70)),
    )
    assert even == 0
    assert lit == pytest.approx(-other)
    assert lit > 20


def test_dark_brows_are_darker_than_the_skin():
    dark, same = colours(scores.brow_darkness, drawn(brow=(40, 30, 20)), drawn())
    assert same == pytest.approx(0, abs=0.5)
    assert dark > 30


def test_yellow_pictures_are_warm_and_blue_ones_are_not():
    pictures = np.stack(
        [np.full((8, 8, 3), colour, np.uint8) for colour in ((200, 180, 90), (128,) * 3, (90, 120, 200))]
    )
    warm, grey, cold = scores.warm_light(pictures)
    assert grey == pytest.approx(0, abs=0.5)
    assert cold < -20 < 20 < warm


def test_the_background_is_what_lies_beyond_the_head():
    def in_front_of(grey, face=128):
        picture = np.full_like(drawn(), face)
        size, reach = len(picture), region_mask(["background"], neutral_face(), len(picture)) > 0.1
        assert 0.02 * size**2 < reach.sum() < 0.7 * size**2
        picture[reach] = grey
        return picture

    dark, light, other_face = colours(scores.light_background, in_front_of(40), in_front_of(220), in_front_of(40, 250))
    assert light - dark > 50
    assert other_face == pytest.approx(dark, abs=0.5)


def test_a_face_that_fills_the_picture_has_no_background():
    middle = neutral_face().mean(axis=0)
    near = middle + 3 * (neutral_face() - middle)
    assert np.isnan(scores.light_background(drawn()[None], near[None])).all()


def test_colours_of_unknown_faces_are_nan():
    unknown = np.full((1, 68, 2), np.nan)
    for score in (scores.skin_tone, scores.light_from_right, scores.brow_darkness, scores.light_background):
        assert np.isnan(score(drawn()[None], unknown)).all()


def test_a_cheek_outside_the_picture_is_unknown():
    assert np.isnan(scores.light_from_right(drawn()[None], neutral_face()[None] + (200, 0))).all()


@pytest.fixture
def predicted(monkeypatch):
    """What the landmark model answers, and how often it was asked."""
    asked = []
    size = 64
    home = map_points(np.linalg.inv(face_to_photo_matrix(neutral_face(), Alignment(), size)), neutral_face())

    def predict(picture, box):
        asked.append(picture)
        return home + int(picture[0, 0, 0])  # as far astray as the first pixel says

    monkeypatch.setattr(scores, "predict_landmarks", predict)
    return asked


def pictures_astray(*pixels):
    found = np.zeros((len(pixels), 64, 64, 3), np.uint8)
    found[:, 0, 0, 0] = pixels
    return found


def test_landmarks_far_from_where_the_crop_puts_them_are_no_face(predicted):
    found = FacePoints(Alignment())(pictures_astray(0, 3, 20))
    assert np.isfinite(found[:2]).all()
    assert np.isnan(found[2]).all()


def test_a_batch_is_looked_at_once_however_many_ask(predicted):
    points = FacePoints(Alignment())
    batch = pictures_astray(0, 1)
    for score in GEOMETRY:
        by_points(points, score)(batch)
    assert len(predicted) == 2
    points(batch.copy())
    assert len(predicted) == 4


def test_pictures_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match=r"expected uint8 \[N, R, R, 3\]"):
        FacePoints(Alignment())(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ShapeError):
        scores.warm_light(np.zeros((1, 8, 8, 3)))


FACES = Path(__file__).parents[4] / "shared" / "faces"


@pytest.mark.skipif(not (FACES / "labels.csv").exists(), reason="needs ../shared/faces")
def test_landmarks_and_yaw_of_real_faces_agree_with_their_labels():
    with (FACES / "labels.csv").open() as file:
        rows = list(islice(csv.DictReader(file), 15))  # the table starts with the validation pictures
    known = np.load(FACES / "landmarks.npy")[:15].astype(float)
    with zipfile.ZipFile(FACES / "fairface-128.zip") as archive:
        photos = [read_photo(archive.read(row["file"])).pixels for row in rows]
    pictures = np.stack([square(photo, 64) for photo in photos])
    points = FacePoints(Alignment(0.62, 0.08))(pictures)
    assert np.isfinite(points).all()
    assert np.hypot(*np.moveaxis(points - ((known + 0.5) / 2 - 0.5), -1, 0)).mean() < 0.7  # pixels of 64
    labels = [float(row["yaw"]) for row in rows]
    assert np.corrcoef(scores.yaw(points), labels)[0, 1] > 0.95
