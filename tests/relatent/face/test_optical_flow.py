import numpy as np
import pytest

from relatent.face.flow import carried_points, largest, motion_between, moved, smoothed_flow, spread

SIZE = 256
EVERYWHERE = np.ones((SIZE, SIZE), np.float32)
MIDDLE = (slice(64, 192), slice(64, 192))


def drawn(x, y):
    """A smooth picture of blobs, as of a 64 px network, known at any place."""
    rng = np.random.default_rng(5)
    total = np.zeros((*np.broadcast_shapes(x.shape, y.shape), 3), np.float32)
    for _ in range(60):
        (cx, cy), width, colour = rng.uniform(0, SIZE, 2), rng.uniform(8, 20), rng.uniform(-90, 90, 3)
        near = np.exp(-((x - cx) ** 2 + (y - cy) ** 2).astype(np.float32) / (2 * width**2))
        total += near[..., None] * colour.astype(np.float32)
    return (total + 128).clip(0, 255).astype(np.float32)


@pytest.fixture(scope="module")
def grid():
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    return x, y


def found_flow(grid, where_from):
    """The flow found for a picture whose pixel p comes from ``where_from(p)``, and the true one."""
    x, y = grid
    from_x, from_y = where_from(x, y)
    motion = motion_between(drawn(from_x, from_y), drawn(x, y), EVERYWHERE)
    return smoothed_flow(motion, EVERYWHERE), np.dstack([from_x - x, from_y - y]), motion


def mean_error(found, true, part=MIDDLE):
    return float(np.hypot(*np.moveaxis(found[part] - true[part], -1, 0)).mean())


def test_a_face_moved_right_and_up_comes_from_the_left_and_below(grid):
    found, true, motion = found_flow(grid, lambda x, y: (x - 6, y + 4))
    assert mean_error(found, true) < 0.5
    np.testing.assert_allclose(found[MIDDLE].mean(axis=(0, 1)), (-6, 4), atol=0.3)
    assert motion.trust[MIDDLE].mean() > 0.9


def test_a_turned_head_turns_in_the_flow(grid):
    """By 4 degrees around (128, 128): 40 px right of the middle that is 2.79 px down, and 0.10 px inwards."""
    angle = np.deg2rad(4)

    def turned_back(x, y):
        u, v = x - 128, y - 128
        return 128 + np.cos(angle) * u + np.sin(angle) * v, 128 - np.sin(angle) * u + np.cos(angle) * v

    found, true, _ = found_flow(grid, turned_back)
    assert mean_error(found, true) < 0.7
    np.testing.assert_allclose(true[128, 168], (-0.10, -2.79), atol=0.01)
    np.testing.assert_allclose(found[128, 168], (-0.10, -2.79), atol=0.8)


def test_an_opening_ellipse_pushes_its_surroundings_apart(grid):
    """Around a mouth that opens by 8 px up and down, the lips' pixels come from nearer its middle line."""

    def closed(x, y):
        u, v = x - 128, y - 128
        push = 8 * np.exp(-((u / 40) ** 2) - (v / 40) ** 2) * np.tanh(v / 8)
        return x, y - push

    found, true, _ = found_flow(grid, closed)
    assert mean_error(found, true) < 0.8
    assert found[112, 128, 1] > 3  # above the middle: from below, true 6.5
    assert found[144, 128, 1] < -3
    assert abs(found[100:156, 128, 0]).max() < 2


def test_dark_skin_is_followed_as_light_skin_is(grid):
    x, y = grid
    dim = [20 + 0.3 * drawn(at, y) for at in (x - 5, x)]
    found = smoothed_flow(motion_between(*dim, EVERYWHERE), EVERYWHERE)
    np.testing.assert_allclose(found[MIDDLE].mean(axis=(0, 1)), (-5, 0), atol=0.5)


def test_where_nothing_changed_nothing_moves(grid):
    x, y = grid
    before = drawn(x, y)
    after = before.copy()
    after[96:128, 96:128] += 60
    motion = motion_between(after, before, EVERYWHERE)
    flow = smoothed_flow(motion, EVERYWHERE)
    assert not flow[:72].any()
    assert not flow[:, 160:].any()
    assert motion.changed[112, 112] == 1


def test_points_go_where_their_surroundings_go(grid):
    x, y = grid
    motion = motion_between(drawn(x - 6, y + 4), drawn(x, y), EVERYWHERE)
    points = np.array([[100.0, 90.0], [150.5, 160.25]])
    np.testing.assert_allclose(carried_points(points, motion, EVERYWHERE), points + np.array([6, -4]), atol=0.7)


def test_moved_reads_where_the_flow_points():
    picture = np.arange(25, dtype=np.float32).reshape(5, 5)
    flow = np.zeros((5, 5, 2), np.float32)
    flow[2, 2] = (1, -2)  # from column 3 of row 0
    flow[4, 4] = (7, 7)  # outside: the edge
    flow[1, 1] = (0.5, 0)
    result = moved(picture, flow)
    assert (result[2, 2], result[4, 4], result[1, 1], result[0, 3]) == (3, 24, 6.5, 3)


def test_a_mean_by_weight_reaches_where_there_is_none():
    values = np.zeros((40, 40), np.float32)
    values[:, :20], values[:, 20:] = 7, 1000
    weight = np.zeros((40, 40), np.float32)
    weight[:, :20] = 1
    np.testing.assert_allclose(spread(values, weight, 4)[:, :30], 7, rtol=1e-3)


def test_the_largest_channel():
    values = np.random.default_rng(1).normal(size=(9, 7, 3)).astype(np.float32)
    np.testing.assert_array_equal(largest(values), np.abs(values).max(axis=2))
    np.testing.assert_array_equal(largest(values[..., :1]), np.abs(values[..., 0]))
