import numpy as np
import pytest

from relatent.face.gamut import FROM_YCC, SURE, TO_YCC, within_own_colours

SIDE = 40
INSIDE = np.zeros((SIDE, SIDE), bool)
INSIDE[4:36, 4:36] = True


def face():
    """Skin whose colour runs from (-20, 10) to (-10, 30), as Cb and Cr, at one brightness."""
    colours = np.full((SIDE, SIDE, 3), (150.0, 0, 0), np.float32)
    colours[..., 1] = np.linspace(-20, -10, SIDE)[None]
    colours[..., 2] = np.linspace(10, 30, SIDE)[:, None]
    return colours @ FROM_YCC.T


def painted(colour):
    """The face with a square of another (Y, Cb, Cr), and where it is."""
    where = np.zeros((SIDE, SIDE), bool)
    where[18:22, 18:22] = True
    edited = face()
    edited[where] = FROM_YCC @ np.array(colour, np.float32)
    return edited, where


def test_a_colour_that_the_face_lacks_is_limited_and_keeps_its_brightness():
    edited, where = painted((190, 40, 25))  # a purple lip
    limited = within_own_colours(edited, face(), INSIDE)
    brightness, blue, red = (limited[where] @ TO_YCC.T).T
    np.testing.assert_allclose(brightness, 190, atol=0.01)
    assert blue.max() < -8
    np.testing.assert_allclose(red, 25, atol=0.01)
    np.testing.assert_array_equal(limited[~where], edited[~where])


def test_colours_of_the_face_and_any_brightness_stay():
    edited, _ = painted((230, -18, 12))
    np.testing.assert_array_equal(within_own_colours(edited, face(), INSIDE), edited)


@pytest.mark.parametrize("shift", [(-60, 0, 0), (0, -25, 10), (40, 15, -12)])
def test_a_change_of_the_whole_face_s_colour_stays(shift):
    edited = face() + FROM_YCC @ np.array(shift, np.float32)
    limited = within_own_colours(edited, face(), INSIDE)
    np.testing.assert_allclose(limited[INSIDE], edited[INSIDE], atol=0.5)


def test_nothing_happens_where_nothing_changes():
    before, where = painted((150, 60, 60))  # a red clown's nose, in less than a hundredth of the face
    before[18:22, 20:22] = face()[18:22, 20:22]
    before[20:22, 18:20] = face()[20:22, 18:20]
    edited = before.copy()
    edited[30, 30] += 3 * SURE
    limited = within_own_colours(edited, before, INSIDE)
    np.testing.assert_array_equal(limited[where], edited[where])


def test_no_face_no_limit():
    edited, _ = painted((190, 40, 25))
    assert within_own_colours(edited, face(), np.zeros_like(INSIDE)) is edited
