"""Frames around faces, and which one a click means."""

from __future__ import annotations

import numpy as np

from relatent.face import Face
from relatent.web.actions.faces import CHOSEN, OTHER, face_at, outlined

PIXELS = np.full((1000, 1800, 3), 128, np.uint8)  # shown at half its size


def found(left, top, side):
    return Face(np.zeros((68, 2)), (left, top, left + side, top + side), 1.0)


FACES = [found(200, 200, 400), found(1000, 300, 200)]


def test_faces_are_framed_where_they_are_and_the_chosen_one_stands_out():
    picture = outlined(PIXELS, FACES, chosen=2)
    assert picture.shape == (500, 900, 3)
    assert tuple(picture[200, 102]) == OTHER
    assert tuple(picture[200, 502]) == CHOSEN
    assert tuple(picture[400, 400]) == (128, 128, 128)
    assert (PIXELS == 128).all()


def test_a_single_face_gets_no_number():
    one, two = outlined(PIXELS, FACES[:1]), outlined(PIXELS, FACES)
    assert tuple(one[112, 112]) == (128, 128, 128)
    assert tuple(two[108, 112]) == CHOSEN


def test_a_click_means_the_smallest_face_below_it():
    inner = found(300, 300, 100)
    assert face_at((120, 120), PIXELS, FACES) == 1
    assert face_at((550, 200), PIXELS, FACES) == 2
    assert face_at((170, 170), PIXELS, [*FACES, inner]) == 3
    assert face_at((10, 10), PIXELS, FACES) is None
