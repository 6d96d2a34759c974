import numpy as np

from relatent.face.sampling import square_matrix
from relatent.face.skin import run_out

SKIN, WALL = (190, 140, 120), (60, 90, 160)


def scene():
    """A face and its neck of one colour before a wall: crop 64 px from (68, 68) to (132, 132)."""
    photo = np.empty((200, 200, 3), np.uint8)
    photo[:] = WALL
    photo[60:140, 70:130] = SKIN
    photo[140:200, 85:115] = SKIN
    shown = np.zeros((64, 64), np.float32)
    shown[10:54, 10:54] = 1
    return photo, shown, square_matrix(np.array([99.5, 99.5]), np.array([32.0, 0.0]), 64)


def change_of(photo, **options):
    _, shown, matrix = scene()
    pasted = photo.copy()
    change = np.full((64, 64, 3), 30, np.float32)
    run_out(pasted, photo, change, shown, matrix, **options)
    return pasted.astype(float) - photo


def test_a_change_of_colour_runs_out_over_skin_and_leaves_the_wall():
    photo, _, _ = scene()
    change = change_of(photo).mean(axis=2)
    np.testing.assert_allclose(change[124:128, 95:105], 30, atol=3)  # chin, beside the face
    down_the_neck = change[126:190, 100]
    assert (np.diff(down_the_neck) <= 0).all()
    assert down_the_neck[-1] == 0
    assert 0 < down_the_neck[25] < 25
    assert np.abs(change[:, :66]).max() <= 1
    assert np.abs(change[145:, :80]).max() <= 1
    assert np.abs(change[85:115, 85:115]).max() == 0  # the face itself has it already


def test_no_change_is_none():
    photo, shown, matrix = scene()
    pasted = photo.copy()
    run_out(pasted, photo, np.zeros((64, 64, 3), np.float32), shown, matrix)
    np.testing.assert_array_equal(pasted, photo)
    run_out(pasted, photo, np.full((64, 64, 3), 30, np.float32), 0 * shown, matrix)  # no face at all
    np.testing.assert_array_equal(pasted, photo)


def test_a_mask_holds():
    photo, _, _ = scene()
    mask = np.ones((64, 64), np.float32)
    mask[32:] = 0  # the lower half stays
    change = change_of(photo, mask=mask)
    assert not change[104:].any()
    assert change[70:80, 90:110].mean() > 10


def test_at_the_photo_s_edge():
    photo, shown, matrix = scene()
    part = photo[:135, 75:].copy()
    shift = np.array([[1.0, 0, -75], [0, 1, 0], [0, 0, 1]])
    pasted = part.copy()
    run_out(pasted, part, np.full((64, 64, 3), 30, np.float32), shown, shift @ matrix)
    assert (pasted.astype(int) - part)[124:128, 20:30].mean() > 20


def test_a_wall_in_the_colours_of_skin_is_reached_less_far_than_a_neck():
    photo = np.full((200, 200, 3), SKIN, np.uint8)
    change = change_of(photo).mean(axis=2)
    away = 23  # px from the face, of a crop of 64 px
    assert change[122 + away, 100] > 1
    for beside in (change[100, 122 + away], change[100, 77 - away], change[77 - away, 100]):
        assert beside == 0
    assert change[100, 122 + 8] > 5  # an ear
