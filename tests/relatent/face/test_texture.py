import cv2
import numpy as np

from relatent.face.texture import with_texture_only


def skin(strength, seed=1):
    noise = np.random.default_rng(seed).normal(0, strength, (160, 160, 1)).astype(np.float32)
    return np.repeat(120 + noise, 3, axis=2)


def texture_of(photo, where, pixel):
    """All of a picture replaced; one channel."""
    return with_texture_only(photo, np.ones(photo.shape[:2], np.float32), where, pixel)[..., 0]


EVERYWHERE = np.ones((160, 160), bool)


def test_skin_keeps_its_own_texture():
    photo = skin(5)
    texture = texture_of(photo, EVERYWHERE, pixel=2)
    own = photo[..., 0] - cv2.GaussianBlur(photo[..., 0], (0, 0), 1)
    assert np.corrcoef(texture.ravel(), own.ravel())[0, 1] > 0.75  # even noise has stronger places
    assert abs(texture.std() / own.std() - 1) < 0.2


def test_a_line_is_left_out_and_grain_takes_its_place():
    photo = skin(4)
    photo[78:82] = 20  # a closed mouth
    texture = texture_of(photo, EVERYWHERE, pixel=4)
    line = texture[76:84]
    assert abs(line.mean(axis=1)).max() < 2
    assert 2 < line.std() < 8


def test_a_smooth_picture_has_no_texture():
    assert np.abs(texture_of(np.full((160, 160, 3), 80, np.float32), EVERYWHERE, 3)).max() < 0.01
    assert texture_of(skin(5)[:6, :7], np.zeros((6, 7), bool), 1).shape == (6, 7)


def test_half_a_line_keeps_the_energy_of_the_fine_structure():
    """A grain of 5 levels, of which the strong half is replaced by a share of one half: still 5 levels."""
    photo = skin(5)
    photo[:80] += 4 * (photo[:80] - 120)  # strong as lines are
    below = EVERYWHERE.copy()
    below[:81] = False
    left = with_texture_only(photo, np.full((160, 160), 0.5, np.float32), below, 2)
    fine = [one[..., 0] - cv2.GaussianBlur(one[..., 0], (0, 0), 0.8) for one in (left, skin(5))]
    assert abs(fine[0][90:].std() / fine[1][90:].std() - 1) < 0.1


def test_nothing_changes_where_nothing_is_replaced():
    share = np.zeros((160, 160), np.float32)
    share[:60] = 1
    photo = skin(5)
    np.testing.assert_array_equal(with_texture_only(photo, share, EVERYWHERE, 2)[60:], photo[60:])
