"""Geometry with numbers worked out by hand, resampling against brute force, padding by its properties."""

import math

import numpy as np
import pytest

from relatent.core.alignment import Alignment
from relatent.core.errors import ShapeError
from relatent.face import align_face, centre_square, face_to_photo_matrix
from relatent.face.padding import outside_distance, soften_outside
from relatent.face.sampling import glance, map_points, sample_square, square_matrix


def points_of_a_face(left_eye, right_eye, left_mouth, right_mouth):
    """68 landmarks of which only eyes and mouth corners mean anything."""
    points = np.zeros((68, 2))
    ring = np.array([(-3, 0), (-1, -2), (1, -2), (3, 0), (1, 2), (-1, 2)], float)  # mean (0, 0)
    points[36:42], points[42:48] = left_eye + ring, right_eye + ring
    points[48], points[54] = left_mouth, right_mouth
    return points


# Eyes 40 apart, mouth 50 below them: x = (40, 0) - (-50, 0) points right, the half side is
# max(2.0 * 40, 1.8 * 50) = 90, and the centre (100, 80) + 0.1 * (0, 50) = (100, 85).
UPRIGHT = points_of_a_face((80, 80), (120, 80), (85, 130), (115, 130))


def turn(points, degrees, scale=1.0, shift=(0.0, 0.0)):
    """Points turned clockwise (as seen, y down) about the origin, scaled, then moved."""
    angle = math.radians(degrees)
    matrix = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return points @ matrix.T + shift, matrix


def ramp(height, width):
    """A photo whose red tells x and whose green tells y, so that resampling it has a known answer."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.full_like(x, 77)], axis=2).astype(np.uint8)


def brute_force(pixels, matrix, size, n=24):
    """Means of n x n nearest samples a pixel."""
    fine = (np.arange(size * n) + 0.5) / n - 0.5
    x, y = np.meshgrid(fine, fine)
    points = np.rint(map_points(matrix, np.stack([x.ravel(), y.ravel()], 1))).astype(int)
    height, width = pixels.shape[:2]
    samples = pixels[points[:, 1].clip(0, height - 1), points[:, 0].clip(0, width - 1)].astype(float)
    return samples.reshape(size, n, size, n, 3).mean(axis=(1, 3))


def test_matrix_of_an_upright_face_by_hand():
    matrix = face_to_photo_matrix(UPRIGHT, Alignment(), 60)
    # 180 photo pixels over 60: 3 each. The left edge is at 10, so the first pixel's centre is at 11.5.
    expected = [[3, 0, 11.5], [0, 3, -3.5], [0, 0, 1]]
    np.testing.assert_allclose(matrix, expected, atol=1e-12)


def test_scale_and_shift_by_hand():
    matrix = face_to_photo_matrix(UPRIGHT, Alignment(scale=0.5, shift=0.1), 45)
    # Side 90, 2 each; the centre moves down by 0.1 * 180 = 18, to (100, 103).
    np.testing.assert_allclose(matrix, [[2, 0, 56], [0, 2, 59], [0, 0, 1]], atol=1e-12)


def test_edges_of_the_crop_are_half_a_pixel_outside():
    matrix = face_to_photo_matrix(UPRIGHT, Alignment(), 60)
    corners = map_points(matrix, np.array([(-0.5, -0.5), (59.5, -0.5), (59.5, 59.5), (-0.5, 59.5)]))
    np.testing.assert_allclose(corners, [(10, -5), (190, -5), (190, 175), (10, 175)], atol=1e-12)


def test_wide_eyes_set_the_size():
    points = points_of_a_face((50, 80), (150, 80), (85, 130), (115, 130))
    assert face_to_photo_matrix(points, Alignment(), 100)[0, 0] == pytest.approx(2 * 2.0 * 100 / 100)


@pytest.mark.parametrize("degrees", [-170, -90, -20, 35, 90, 180])
def test_matrix_turns_scales_and_moves_with_the_face(degrees):
    moved, linear = turn(UPRIGHT, degrees, scale=1.7, shift=(31, -7))
    alignment = Alignment(0.62, 0.08)
    still = face_to_photo_matrix(UPRIGHT, alignment, 64)
    corners = np.array([(-0.5, -0.5), (63.5, -0.5), (10, 40)])
    expected = map_points(still, corners) @ linear.T + (31, -7)
    np.testing.assert_allclose(map_points(face_to_photo_matrix(moved, alignment, 64), corners), expected, atol=1e-9)


def test_same_place_at_every_size():
    small, large = (face_to_photo_matrix(UPRIGHT, Alignment(), size) for size in (32, 1024))
    middle_small, middle_large = (map_points(m, np.full((1, 2), (s - 1) / 2)) for m, s in ((small, 32), (large, 1024)))
    np.testing.assert_allclose(middle_small, middle_large, atol=1e-9)


@pytest.mark.parametrize("bad", [np.zeros((5, 2)), np.full((68, 2), np.nan), np.zeros((68, 2))])
def test_unusable_landmarks_are_refused(bad):
    with pytest.raises(ShapeError):
        face_to_photo_matrix(bad, Alignment(), 64)


@pytest.mark.parametrize("bad", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((9, 9, 4), np.uint8)])
def test_foreign_pixels_are_refused(bad):
    with pytest.raises(ShapeError, match="uint8"):
        align_face(bad, UPRIGHT, Alignment(), 64)


def test_identity_copies_every_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    pixels.flags.writeable = False  # as Pillow gives them
    np.testing.assert_array_equal(sample_square(pixels, np.eye(3), 40), pixels)


@pytest.mark.parametrize("factor", [2, 3, 5, 18])
def test_whole_factors_are_exact_means(factor):
    size = 12
    pixels = np.random.default_rng(1).integers(0, 256, (size * factor, size * factor, 3), dtype=np.uint8)
    matrix = square_matrix(np.full(2, (size * factor - 1) / 2), np.array([size * factor / 2, 0]), size)
    expected = pixels.reshape(size, factor, size, factor, 3).mean(axis=(1, 3))
    assert np.abs(sample_square(pixels, matrix, size) - expected).max() <= 1.01


@pytest.mark.parametrize(("side", "degrees"), [(70, 0), (150, 20), (333, 45), (360, -77), (200, 180)])
def test_shrinking_averages_like_brute_force(side, degrees):
    rng = np.random.default_rng(2)
    pixels = np.kron(rng.integers(0, 256, (125, 125, 3), dtype=np.uint8), np.ones((4, 4, 1), np.uint8))
    angle = math.radians(degrees)
    matrix = square_matrix((251.3, 247.9), side / 2 * np.array([math.cos(angle), math.sin(angle)]), 24)
    difference = sample_square(pixels, matrix, 24) - brute_force(pixels, matrix, 24)
    # Blocks of 4 with noise are the worst case; photos are smoother.
    assert np.abs(difference).mean() < 5
    assert abs(difference.mean()) < 0.5


def test_checkerboard_becomes_grey():
    board = (np.indices((600, 600)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    for half in (np.array([200.0, 0]), np.array([150.0, 130.0])):
        grey = sample_square(board, square_matrix((299.5, 299.5), half, 37), 37)
        assert np.abs(grey.astype(float) - 127.5).max() < 12
        assert abs(grey.mean() - 127.5) < 1


@pytest.mark.parametrize("size", [16, 50, 128, 400])
@pytest.mark.parametrize("degrees", [0, 30, 90])
def test_grid_points_show_what_lies_there(size, degrees):
    """No half pixel is lost at any size: on a linear photo, each face pixel tells its own position."""
    photo = ramp(250, 250)
    moved, _ = turn(UPRIGHT - (100, 85), degrees, scale=0.85, shift=(125.25, 124.5))
    face = align_face(photo, moved, Alignment(), size)
    y, x = np.mgrid[:size, :size]
    there = map_points(face.face_to_photo, np.stack([x.ravel(), y.ravel()], 1)).reshape(size, size, 2)
    error = face.image[..., :2] - there  # photo pixels; rounding to whole levels is part of it
    assert np.abs(error.mean(axis=(0, 1))).max() < 0.1
    assert np.abs(error).max() < 1.2


def test_the_inverse_brings_photo_points_into_the_face():
    face = align_face(ramp(200, 200), UPRIGHT, Alignment(), 60)
    np.testing.assert_allclose(face.photo_to_face @ [100, 85, 1], [29.5, 29.5, 1], atol=1e-9)


def border_case(degrees=0):
    """A bright photo, and a face in its upper left corner, most of the crop outside."""
    rng = np.random.default_rng(3)
    texture = rng.integers(120, 220, (25, 25, 3), dtype=np.uint8)
    photo = np.kron(texture, np.ones((8, 8, 1), np.uint8))
    points, _ = turn(UPRIGHT - (100, 85), degrees, shift=(40, 50))
    return photo, align_face(photo, points, Alignment(), 96)


@pytest.mark.parametrize("degrees", [0, 25, -90])
def test_padding_has_no_black_and_keeps_the_photo(degrees):
    photo, face = border_case(degrees)
    distance = outside_distance(face.face_to_photo, 96, photo.shape[:2])
    assert (distance > 0).mean() > 0.3
    assert face.image.min() >= 100
    bare = sample_square(photo, face.face_to_photo, 96)
    np.testing.assert_array_equal(face.image[distance <= 0], bare[distance <= 0])


def test_padding_continues_the_photo_and_gets_smoother_outside():
    photo, face = border_case()
    distance = outside_distance(face.face_to_photo, 96, photo.shape[:2])
    steps = np.abs(np.diff(face.image.astype(float), axis=1)).mean(axis=2)
    across = (distance[:, :-1] > 0) & (distance[:, 1:] <= 0)  # pairs on both sides of the photo's left edge
    inside = (distance[:, :-1] <= 0) & (distance[:, 1:] <= 0)
    far = distance[:, 1:] > 15
    assert steps[across].mean() <= steps[inside].mean() + 1
    assert steps[far].mean() < steps[inside].mean() / 4


def test_far_outside_is_the_border_s_median():
    photo = np.full((50, 50, 3), (200, 150, 100), np.uint8)
    matrix = square_matrix((-60.0, -60.0), np.array([100.0, 0]), 64)
    padded = soften_outside(sample_square(photo, matrix, 64), matrix, (50, 50))
    np.testing.assert_array_equal(padded, np.broadcast_to(photo[0, 0], (64, 64, 3)))


def test_distance_outside_by_hand():
    distance = outside_distance(np.diag([2.0, 2.0, 1.0]), 6, (8, 8))  # pixel centres at 0, 2, .. 10; edge at 7.5
    np.testing.assert_allclose(distance[0], np.array([-0.5, -0.5, -0.5, -0.5, 0.5, 2.5]) / 2)
    assert distance[5, 5] == pytest.approx(math.hypot(2.5, 2.5) / 2)


def test_a_square_larger_than_the_photo_on_all_sides():
    photo = ramp(20, 9)
    square = sample_square(photo, square_matrix((4.0, 9.5), np.array([60.0, 0]), 48), 48)
    assert square.shape == (48, 48, 3)
    assert (square[..., 2] == 77).all()


@pytest.mark.parametrize(("height", "width", "size"), [(90, 60, 30), (61, 100, 128), (64, 64, 64)])
def test_centre_square_and_its_matrix_agree(height, width, size):
    face = centre_square(ramp(height, width), size)
    assert face.image.shape == (size, size, 3)
    side = min(height, width)
    outer = map_points(face.face_to_photo, np.array([(-0.5, -0.5), (size - 0.5, size - 0.5)]))
    left, top = (width - side) // 2 - 0.5, (height - side) // 2 - 0.5
    np.testing.assert_allclose(outer, [(left, top), (left + side, top + side)], atol=1e-9)
    inner = np.array([(size // 2, size // 2)])
    x, y = map_points(face.face_to_photo, inner)[0]
    red, green, _ = face.image[size // 2, size // 2].astype(float)
    assert (red, green) == (pytest.approx(x, abs=0.75), pytest.approx(y, abs=0.75))


def test_a_glance_sees_the_same_place():
    """A tilted, shrunken, half outside square: the quick look differs from the exact one by less than noise."""
    y, x = np.mgrid[:400, :500]
    photo = np.stack([120 + 60 * np.sin(x / 31), 120 + 60 * np.cos(y / 27), (x + y) / 4], axis=-1).astype(np.uint8)
    for half in (np.array([60.0, 20.0]), np.array([220.0, -90.0])):
        matrix = square_matrix((300.0, 260.0), half, 64)
        exact, quick = sample_square(photo, matrix, 64), glance(photo, matrix, 64)
        assert np.abs(exact[6:-6, 6:-6].astype(int) - quick[6:-6, 6:-6]).mean() < 2
