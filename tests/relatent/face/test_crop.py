import io

import numpy as np
import pytest
from PIL import Image

from relatent.core.errors import UnreadablePhotoError
from relatent.face.crop import LARGEST, cut_crop, own_side, pack_crop, resized_square, unpack_crop
from relatent.face.sampling import map_points, square_matrix


def matrix_of(side, size=64, centre=(299.5, 299.5)):
    return square_matrix(np.array(centre), np.array([side / 2, 0.0]), size)


@pytest.mark.parametrize(
    ("side", "most", "expected"),
    [(384, None, 384), (385, None, 448), (20, None, 64), (3000, None, 3008), (3000, 1024, 1024), (384, 32, 64)],
)
def test_the_side_is_the_face_s_own(side, most, expected):
    assert own_side(matrix_of(side), 64, most) == expected


def test_a_turned_face_has_its_own_side():
    turned = square_matrix(np.array([300.0, 300.0]), 192 * np.array([np.cos(0.5), np.sin(0.5)]), 64)
    assert own_side(turned, 64) == 384


def test_squares_share_their_edges():
    """The outer edges of 64 and of 384 pixels are the same: -0.5 to 63.5 is -0.5 to 383.5."""
    edges = np.array([[-0.5, -0.5], [63.5, 63.5]])
    np.testing.assert_allclose(map_points(resized_square(64, 384), edges), [[-0.5, -0.5], [383.5, 383.5]])


@pytest.fixture
def photo():
    y, x = np.mgrid[:600, :600].astype(float)
    return np.stack([x / 3, y / 3, 120 + 40 * np.sin(x / 9)], axis=-1).astype(np.uint8)


def test_a_crop_travels(photo):
    packed = pack_crop(photo, matrix_of(256), 64)
    crop = unpack_crop(packed)
    assert crop.shape == (256, 256, 3)
    np.testing.assert_array_equal(cut_crop(photo, matrix_of(256), 64, 256), photo[172:428, 172:428])
    assert np.abs(crop.astype(int) - photo[172:428, 172:428]).mean() < 3


def test_what_is_no_crop_is_refused(photo):
    def png(pixels):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()

    for packed, match in (
        (b"", "empty"),
        (b"no picture", "not a picture"),
        (png(photo[:64, :128]), "expected a square"),
        (png(np.zeros((LARGEST + 1, LARGEST, 3), np.uint8)), "too many pixels"),
    ):
        with pytest.raises(UnreadablePhotoError, match=match):
            unpack_crop(packed)
