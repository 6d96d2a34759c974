import cv2
import numpy as np

from relatent.face.grain import grain_like


def test_grain_is_as_strong_as_the_photo_s():
    noise = np.random.default_rng(1).normal(0, 6, (200, 200))
    photo = np.repeat((120 + noise)[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)
    grain = grain_like(photo, np.ones((200, 200), bool))
    fine = [one - cv2.GaussianBlur(one, (0, 0), 0.8) for one in (noise.astype(np.float32), grain)]
    assert abs(fine[1].std() / fine[0].std() - 1) < 0.15
    assert abs(grain.mean()) < 0.2


def test_a_smooth_photo_has_no_grain_and_edges_are_none():
    photo = np.full((200, 200, 3), 90, np.uint8)
    photo[:, 95:105] = 250
    assert np.abs(grain_like(photo, np.ones((200, 200), bool))).max() < 0.01


def test_only_what_is_asked_for_is_measured():
    photo = np.full((200, 200, 3), 90, np.uint8)
    photo[:100] = np.random.default_rng(2).integers(0, 255, (100, 200, 1))
    below = np.zeros((200, 200), bool)
    below[110:] = True
    assert np.abs(grain_like(photo, below)).max() < 0.01
    assert grain_like(photo, ~below).std() > 20


def test_the_same_photo_has_the_same_grain_at_any_size():
    photo = np.random.default_rng(3).integers(0, 255, (600, 700, 3)).astype(np.uint8)
    first, second = (grain_like(photo, np.ones((600, 700), bool)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (600, 700)
    small = photo[:7, :5]
    assert grain_like(small, np.zeros((7, 5), bool)).shape == (7, 5)
