import numpy as np
import pytest

from relatent.core.errors import ShapeError, UsageError
from relatent.face.paste import edge_mask, paste_difference, paste_face, photo_window, to_window
from relatent.face.sampling import map_points, sample_square, square_matrix

SIZE = 32


@pytest.fixture
def photo():
    y, x = np.mgrid[:240, :320]
    waves = [120 + 60 * np.sin(x / 17 + c) + 50 * np.cos(y / (13 + c)) for c in range(3)]
    return np.stack(waves, axis=-1).clip(0, 255).astype(np.uint8)


def turned(centre=(150.0, 110.0), half=(70.0, 25.0)):
    return square_matrix(np.array(centre), np.array(half), SIZE)


def face_of(photo, matrix, size=SIZE):
    return sample_square(photo, matrix, size).astype(np.float32)


def test_no_edit_leaves_every_bit(photo):
    face = face_of(photo, turned())
    pasted = paste_difference(photo, face + 0.3, face + 0.3, turned())
    np.testing.assert_array_equal(pasted, photo)
    assert pasted is not photo


def test_a_difference_lands_where_the_matrix_says(photo):
    face = face_of(photo, turned())
    edited = face.copy()
    edited[12, 20] += 200
    pasted = paste_difference(photo // 4, edited, face, turned()).astype(float) - photo // 4
    weight = pasted.sum(axis=2).clip(0, None)
    y, x = np.mgrid[:240, :320]
    found = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
    (expected,) = map_points(turned(), np.array([[20.0, 12.0]]))
    np.testing.assert_allclose(found, expected, atol=0.3)


def test_a_uniform_change_keeps_the_photo_s_detail(photo):
    face = face_of(photo, turned())
    pasted = paste_difference(photo // 2, face + 40, face, turned()).astype(float)
    centre = pasted[90:130, 130:170]
    np.testing.assert_allclose(centre, (photo // 2)[90:130, 130:170] + 40.0, atol=1)


def test_outside_the_crop_nothing_changes(photo):
    face = face_of(photo, turned())
    rows, columns = photo_window(turned(), SIZE, photo.shape[:2])
    outside = np.ones(photo.shape[:2], bool)
    outside[rows, columns] = False
    for pasted in (paste_difference(photo, 255 - face, face, turned()), paste_face(photo, 255 - face, turned())):
        np.testing.assert_array_equal(pasted[outside], photo[outside])
        assert np.abs(pasted.astype(int) - photo).max() > 50


def test_a_mask_limits_both_blends(photo):
    face = face_of(photo, turned())
    mask = np.zeros((SIZE, SIZE), np.float32)
    mask[8:16, 8:16] = 1
    reach = to_window(
        np.pad(np.ones((12, 12), np.float32), ((6, 14), (6, 14))), turned(), (slice(0, 240), slice(0, 320))
    )
    for pasted in (
        paste_difference(photo, 255 - face, face, turned(), mask),
        paste_face(photo, 255 - face, turned(), mask, before=face),
        paste_face(photo, 255 - face, turned(), mask, before=face, poisson=True),
    ):
        changed = np.abs(pasted.astype(int) - photo).max(axis=2) > 0
        assert changed.any()
        assert not changed[reach == 0].any()


def test_a_small_face_of_a_large_network_is_averaged(photo):
    """32 face pixels on 8 photo pixels: noise must become grey, as 16 of them are averaged."""
    matrix = square_matrix(np.array([100.0, 100.0]), np.array([4.0, 0.0]), SIZE)
    noise = np.random.default_rng(0).normal(128, 60, (SIZE, SIZE)).astype(np.float32)
    drawn = to_window(noise, matrix, photo_window(matrix, SIZE, photo.shape[:2]))
    assert drawn[2:-2, 2:-2].std() < 25


def test_up_and_down_is_the_same_place(photo):
    """Replacing the face by itself, enlarged from the photo, gives the photo back."""
    matrix = square_matrix(np.array([150.0, 110.0]), np.array([40.0, 0.0]), 160)
    pasted = paste_face(photo, face_of(photo, matrix, 160), matrix)
    assert np.abs(pasted.astype(int) - photo).max() <= 3


def test_colours_are_matched_to_the_photo(photo):
    face = face_of(photo, turned())
    off = face * np.float32([0.7, 1.1, 0.9]) + np.float32([30, -10, 5])
    plain = np.abs(paste_face(photo, face, turned()).astype(int) - photo).mean()
    matched = np.abs(paste_face(photo, off, turned()).astype(int) - photo).mean()
    assert matched < plain + 0.5
    edited = paste_face(photo, off + 30, turned(), before=off).astype(int) - photo
    assert edited[100:120, 140:160].mean() > 20  # matching undoes the network's colours, not the edit's


def test_poisson_stays_in_place():
    y, x = np.mgrid[:240, :320]
    fine = 128 + 50 * np.sin(x / 1.5) + 50 * np.cos(y / 1.5)  # two pixels off would be another picture
    photo = np.stack([fine] * 3, axis=-1).astype(np.uint8)
    matrix = square_matrix(np.array([150.0, 110.0]), np.array([40.0, 0.0]), 160)
    pasted = paste_face(photo, face_of(photo, matrix, 160) + 25, matrix, poisson=True).astype(int)
    assert np.abs(pasted - photo).mean() < 2  # an offset has no gradient


def test_half_outside_the_photo(photo):
    matrix = turned(centre=(5.0, 230.0))
    face = face_of(photo, matrix)
    np.testing.assert_array_equal(paste_difference(photo, face, face, matrix), photo)
    for poisson in (False, True):
        assert paste_face(photo, face, matrix, poisson=poisson).shape == photo.shape
    matrix = square_matrix(np.array([10.0, 110.0]), np.array([40.0, 0.0]), 160)
    pasted = paste_face(photo, face_of(photo, matrix, 160), matrix, poisson=True)
    assert np.abs(pasted.astype(int) - photo).max() <= 6


def test_what_is_refused(photo):
    face = face_of(photo, turned())
    with pytest.raises(UsageError, match="outside this photo"):
        paste_difference(photo, face, face, turned(centre=(900.0, 900.0)))
    with pytest.raises(ShapeError, match="expected both"):
        paste_difference(photo, face, face[:16], turned())
    with pytest.raises(ShapeError, match="mask"):
        paste_difference(photo, face, face, turned(), np.ones((3, 3), np.float32))
    with pytest.raises(ShapeError, match="photo"):
        paste_difference(photo.astype(float), face, face, turned())


def test_the_edge_fades():
    mask = edge_mask(64)
    assert mask[0].max() == mask[:, -1].max() == 0
    assert mask[32, 32] == 1
    np.testing.assert_array_equal(mask, mask.T)
