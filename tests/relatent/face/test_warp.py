import cv2
import numpy as np
import pytest

from relatent.core.errors import ShapeError, UsageError
from relatent.face.crop import resized_square
from relatent.face.sampling import map_points, sample_square, square_matrix
from relatent.face.warp import SIZE, measured_warp, paste_warped

R = 64  # what the network draws


def made_landmarks(scale=1.0):
    """dlib's 68 points of a made-up upright face, in shares of the crop."""
    points = np.zeros((68, 2))
    angles = np.pi - np.linspace(0, np.pi, 17)
    points[:17] = np.stack([0.5 + 0.34 * np.cos(angles), 0.45 + 0.45 * np.sin(angles)], axis=1)
    points[17:22] = np.stack([np.linspace(0.25, 0.42, 5), np.full(5, 0.30)], axis=1)
    points[22:27] = np.stack([np.linspace(0.58, 0.75, 5), np.full(5, 0.30)], axis=1)
    points[27:31] = np.stack([np.full(4, 0.5), np.linspace(0.38, 0.52, 4)], axis=1)
    points[31:36] = np.stack([np.linspace(0.43, 0.57, 5), np.full(5, 0.57)], axis=1)
    for first, middle in ((36, 0.34), (42, 0.66)):
        turn = np.linspace(np.pi, -np.pi, 6, endpoint=False)
        points[first : first + 6] = np.stack([middle + 0.06 * np.cos(turn), 0.4 - 0.02 * np.sin(turn)], axis=1)
    turn = np.linspace(np.pi, -np.pi, 20, endpoint=False)
    points[48:68] = np.stack([0.5 + 0.13 * np.cos(turn), 0.73 - 0.04 * np.sin(turn)], axis=1)
    return points * R - 0.5


def made_face(side, move=(0.0, 0.0), mouth=0.04, colour=(200, 150, 130)):
    """A face of smooth shapes on a wall, [side, side, 3]; ``move`` in shares of the side moves all but the wall."""
    y, x = (np.mgrid[:side, :side].astype(np.float32) + 0.5) / side

    def inside(cx, cy, rx, ry):
        distance = np.sqrt(((x - cx - move[0]) / rx) ** 2 + ((y - cy - move[1]) / ry) ** 2)
        return (1 / (1 + np.exp(np.minimum((distance - 1) * min(rx, ry) * 150, 50))))[..., None]

    picture = np.zeros((side, side, 3), np.float32) + np.float32([90, 110, 150])
    for shape, shade in (
        ((0.5, 0.45, 0.35, 0.46), colour),
        ((0.34, 0.4, 0.06, 0.025), (40, 30, 30)),
        ((0.66, 0.4, 0.06, 0.025), (40, 30, 30)),
        ((0.34, 0.3, 0.1, 0.02), (80, 50, 40)),
        ((0.66, 0.3, 0.1, 0.02), (80, 50, 40)),
        ((0.5, 0.55, 0.05, 0.03), (170, 110, 95)),
        ((0.5, 0.73, 0.13, mouth), (150, 50, 60)),
        ((0.3, 0.6, 0.05, 0.05), (215, 140, 120)),
        ((0.7, 0.6, 0.05, 0.05), (215, 140, 120)),
    ):
        weight = inside(*shape)
        picture += weight * (np.float32(shade) - picture)
    return picture


def drawn(**options):
    return cv2.resize(made_face(256, **options), (R, R), interpolation=cv2.INTER_AREA)


def grainy(picture, seed=1, strength=8.0):
    noise = np.random.default_rng(seed).normal(0, strength, picture.shape[:2])
    return np.rint(picture + noise[..., None]).clip(0, 255).astype(np.uint8)


SIDE = 320  # of the face in the photo
MATRIX = square_matrix(np.array([219.5, 199.5]), np.array([SIDE / 2, 0.0]), R)  # from (60, 40) to (380, 360)


def made_photo(seed=1, **options):
    canvas = np.zeros((400, 440, 3), np.float32) + np.float32([90, 110, 150])
    canvas[40:360, 60:380] = made_face(SIDE, **options)
    return grainy(canvas, seed)


@pytest.fixture(scope="module")
def photo():
    return made_photo()


def test_no_edit_leaves_every_bit(photo):
    face = drawn()
    pasted = paste_warped(photo, face, face.copy(), MATRIX, made_landmarks())
    np.testing.assert_array_equal(pasted, photo)
    assert pasted is not photo


def test_a_moved_face_takes_the_photo_s_own_grain_along(photo):
    """By 0.025 of the side: 8 px in the photo. The grain in the cheek is the photo's, 8 px further left."""
    pasted = paste_warped(photo, drawn(move=(0.025, 0)), drawn(), MATRIX, made_landmarks()).astype(float)
    cheek, source = (slice(180, 230), slice(200, 260)), (slice(180, 230), slice(192, 252))
    fine = [one - cv2.GaussianBlur(one, (0, 0), 3) for one in (pasted, photo.astype(float))]
    together = np.corrcoef(fine[0][cheek].ravel(), fine[1][source].ravel())[0, 1]
    in_place = np.corrcoef(fine[0][cheek].ravel(), fine[1][cheek].ravel())[0, 1]
    assert together > 0.6
    assert abs(in_place) < 0.15  # no ghost of the unmoved grain
    wanted = made_photo(seed=2, move=(0.025, 0)).astype(float)
    smooth = [cv2.GaussianBlur(one, (0, 0), 4)[120:300, 150:290] for one in (pasted, wanted)]
    assert np.abs(smooth[0] - smooth[1]).mean() < 4


@pytest.mark.parametrize("step", [8.25, 8.5])
def test_moved_grain_keeps_its_energy(photo, step):
    """Between pixels, where interpolation blurs most."""
    pasted = paste_warped(photo, drawn(move=(step / SIDE, 0)), drawn(), MATRIX, made_landmarks()).astype(np.float32)
    cheek, source = (slice(180, 230), slice(200, 260)), (slice(180, 230), slice(192, 252))
    fine = [one - cv2.GaussianBlur(one, (0, 0), 0.8) for one in (pasted, photo.astype(np.float32))]
    assert 0.75 < np.square(fine[0][cheek]).mean() / np.square(fine[1][source]).mean() < 1.25


def test_the_wall_is_not_dragged_where_no_jaw_recedes(photo):
    pasted = paste_warped(photo, drawn(mouth=0.08), drawn(), MATRIX, made_landmarks())
    np.testing.assert_array_equal(pasted[:, :80], photo[:, :80])
    np.testing.assert_array_equal(pasted[:, 365:], photo[:, 365:])
    np.testing.assert_array_equal(pasted[:40], photo[:40])


def test_an_opened_mouth_shows_the_drawing_with_grain(photo):
    """The mouth's lower half is new: colours of the drawing, texture of the photo."""
    pasted = paste_warped(photo, drawn(mouth=0.1), drawn(mouth=0.01), MATRIX, made_landmarks()).astype(float)
    patch = pasted[40 + 240 : 40 + 252, 210:230]  # y from 0.75 to 0.79 of the crop, in the opened mouth
    np.testing.assert_allclose(patch.mean(axis=(0, 1)), (150, 50, 60), atol=25)
    fine = patch - cv2.GaussianBlur(patch, (0, 0), 1.5)
    assert fine.std() > 3


def test_a_colour_is_added_and_detail_stays(photo):
    redder = drawn(colour=(230, 150, 130))
    pasted = paste_warped(photo, redder, drawn(), MATRIX, made_landmarks()).astype(float)
    forehead = (slice(145, 155), slice(210, 230))
    change = (pasted - photo)[forehead]
    np.testing.assert_allclose(change.mean(axis=(0, 1)), (30, 0, 0), atol=4)
    assert change.std(axis=(0, 1)).max() < 3


def test_a_mask_keeps_the_rest_to_the_last_bit(photo):
    mask = np.zeros((R, R), np.float32)
    mask[38:56, 16:48] = 1  # around the mouth
    edited = drawn() + (drawn(mouth=0.09, move=(0.02, 0)) - drawn()) * mask[..., None]
    pasted = paste_warped(photo, edited, drawn(), MATRIX, made_landmarks(), mask)
    changed = np.abs(pasted.astype(int) - photo).max(axis=2) > 0
    left, top, right, bottom = 60 + 14 * 5, 40 + 36 * 5, 60 + 50 * 5, 40 + 58 * 5
    assert changed[top:bottom, left:right].mean() > 0.3
    changed[top:bottom, left:right] = False
    assert not changed.any()


@pytest.mark.parametrize("side", [24, 48])
def test_a_face_smaller_than_the_network_s(photo, side):
    """The photo's face has fewer pixels than are drawn: it moves all the same."""
    small = cv2.resize(photo[40:360, 60:380], (side, side), interpolation=cv2.INTER_AREA)
    framed = cv2.copyMakeBorder(small, 10, 10, 10, 10, cv2.BORDER_REPLICATE)
    matrix = square_matrix(np.array([10 + (side - 1) / 2] * 2), np.array([side / 2, 0.0]), R)
    pasted = paste_warped(framed, drawn(move=(0.04, 0)), drawn(), matrix, made_landmarks())
    crops = [sample_square(one, matrix, R).astype(float)[20:52, 14:50] for one in (pasted, framed)]
    wanted = drawn(move=(0.04, 0))[20:52, 14:50]
    assert np.abs(crops[0] - wanted).mean() < 0.6 * np.abs(crops[1] - wanted).mean()


def test_a_turned_face_moves_along_its_own_axes(photo):
    """The photo lies on its side; the flow of the upright crop turns with it."""
    turned = np.ascontiguousarray(np.rot90(photo))  # (x, y) -> (y, width - 1 - x)
    turn = np.array([[0.0, 1, 0], [-1, 0, photo.shape[1] - 1], [0, 0, 1]])
    pasted = paste_warped(turned, drawn(move=(0.025, 0)), drawn(), turn @ MATRIX, made_landmarks())
    upright = paste_warped(photo, drawn(move=(0.025, 0)), drawn(), MATRIX, made_landmarks())
    difference = np.rot90(pasted, -1).astype(int) - upright
    assert np.abs(difference).mean() < 0.5


def test_half_outside_the_photo(photo):
    cut = photo[:, 200:].copy()
    matrix = np.array([[1.0, 0, -200], [0, 1, 0], [0, 0, 1]]) @ MATRIX
    pasted = paste_warped(cut, drawn(mouth=0.09), drawn(), matrix, made_landmarks())
    assert pasted.shape == cut.shape
    assert np.abs(pasted.astype(int) - cut).max() > 30


def test_a_network_finer_than_the_flow(photo):
    """300 px are drawn, the flow is measured at 256."""
    first, second = made_face(300), made_face(300, move=(0.02, 0))
    matrix = MATRIX @ resized_square(300, R)
    points = map_points(resized_square(R, 300), made_landmarks())
    fine = paste_warped(photo, second, first, matrix, points).astype(float)
    coarse = paste_warped(photo, drawn(move=(0.02, 0)), drawn(), MATRIX, made_landmarks()).astype(float)
    assert np.abs(fine - coarse).mean() < 4


def test_where_the_flow_ends():
    """A receding jaw draws its surroundings along, a moved forehead does not; the crop's edge stays."""
    before = cv2.resize(drawn(), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    after = cv2.resize(drawn(move=(0, -0.05)), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    warp = measured_warp(after, before, map_points(resized_square(R, SIZE), made_landmarks()))
    assert warp.flow[-1].max() == warp.flow[:, 0].max() == 0
    assert warp.flow[225, 128, 1] > 3  # the chin was here, and what is below it moves up
    assert not warp.shown[236:].any()
    assert np.abs(warp.flow[40:100, :20]).max() < 0.05  # the wall beside brows and eyes


def test_an_ear_follows_a_turned_head():
    """The face recedes to the left by 0.04 of the side; beside its right edge, level with the nose, the photo follows
    by less and less."""
    before = cv2.resize(drawn(), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    after = cv2.resize(drawn(move=(-0.04, 0)), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    warp = measured_warp(after, before, map_points(resized_square(R, SIZE), made_landmarks()))
    beside = warp.flow[128:140, 214:250, 0].mean(axis=0)  # the outline ends at 0.85 of the side, 217 px
    assert beside[6] > 3
    assert abs(beside[-1]) < 0.5
    assert (np.diff(beside) < 0.05).all()
    assert np.abs(warp.flow[:30, 214:]).max() < 0.05  # hair and wall above the temples stay


def test_what_is_refused(photo):
    face = drawn()
    with pytest.raises(ShapeError, match="68"):
        paste_warped(photo, face, face, MATRIX, made_landmarks()[:5])
    with pytest.raises(ShapeError, match="expected both"):
        paste_warped(photo, face, face[:16], MATRIX, made_landmarks())
    with pytest.raises(ShapeError, match="mask"):
        paste_warped(photo, face, face, MATRIX, made_landmarks(), np.ones((3, 3), np.float32))
    with pytest.raises(UsageError, match="outside this photo"):
        paste_warped(photo[:30, :40], face, face, MATRIX, made_landmarks())
