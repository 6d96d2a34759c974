import io

import numpy as np
import pytest
import torch
from invented import invented
from PIL import Image
from PIL.ExifTags import Base

from editing import Direction, edit, paste_back
from editing.pasting import BLENDS
from relatent.core.errors import PhotoError, UnknownNameError, UsageError
from relatent.core.images import to_pixels
from relatent.core.provenance import COMPOSITE, MarkedImage
from relatent.face.paste import paste_difference
from stylegan import network_id


@pytest.fixture
def photo():
    y, x = np.mgrid[:120, :160]
    return np.stack([x + 40, y + 60, 200 - x], axis=-1).clip(0, 255).astype(np.uint8)


@pytest.fixture
def me(tiny_generator):
    return invented(tiny_generator, 1)


@pytest.fixture
def younger(me, tiny_generator):
    torch.manual_seed(3)
    return edit(me, smile=2, directions=[Direction(torch.randn(24), "smile", network_id(tiny_generator))])


def test_no_edit_leaves_the_photo(me, photo, tiny_generator):
    pasted = paste_back(me, photo, network=tiny_generator)
    assert isinstance(pasted, Image.Image)
    np.testing.assert_array_equal(np.asarray(pasted), photo)


def test_the_difference_is_taken_in_floats(younger, photo, tiny_generator):
    pasted = np.asarray(paste_back(younger, photo, network=tiny_generator)).astype(int)
    drawn = [to_pixels(one.tensor(tiny_generator))[0].astype(np.float32) for one in (younger, younger.unedited())]
    rounded = paste_difference(photo, *drawn, younger.face_to_photo).astype(int)
    assert 0 < np.abs(pasted - rounded).max() <= 2
    assert np.abs(pasted - photo).max() > 10


@pytest.mark.parametrize("blend", BLENDS)
def test_only_the_face_changes(younger, photo, tiny_generator, blend):
    pasted = np.asarray(paste_back(younger, photo, blend=blend, network=tiny_generator))
    changed = np.abs(pasted.astype(int) - photo).max(axis=2) > 0
    assert changed.any()
    assert not changed[72:].any()  # the crop reaches from (9, 4) to (73, 68)
    assert not changed[:, 76:].any()


@pytest.mark.parametrize("blend", BLENDS)
def test_a_mask_holds_in_every_blend(younger, photo, tiny_generator, blend):
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., :16] = 1
    pasted = np.asarray(paste_back(younger.replace(mask=mask), photo, blend=blend, network=tiny_generator))
    changed = np.abs(pasted.astype(int) - photo).max(axis=2) > 0
    assert changed[:, :40].any()
    assert not changed[:, 10 + 2 * 18 :].any()


def test_several_faces_of_one_photo(younger, photo, tiny_generator):
    shift = np.array([[1.0, 0, 70], [0, 1, 40], [0, 0, 1]])
    other = younger.replace(face_to_photo=shift @ younger.face_to_photo, edits={"age": 1.0})
    both = paste_back([younger, other], photo, network=tiny_generator)
    one = paste_back(younger, photo, network=tiny_generator)
    two = paste_back(other, np.asarray(one), network=tiny_generator)
    np.testing.assert_array_equal(np.asarray(both), np.asarray(two))
    assert "smile +2, age +1" in both.software


def test_the_photo_s_own_metadata_travels(younger, photo, tiny_generator, tmp_path):
    exif = Image.Exif()
    exif[Base.Orientation], exif[Base.Copyright] = 6, "me"
    lying = np.rot90(photo)  # orientation 6 turns it back
    Image.fromarray(lying).save(tmp_path / "me.png", exif=exif.tobytes())
    pasted = paste_back(younger, tmp_path / "me.png", network=tiny_generator)
    np.testing.assert_array_equal(np.asarray(pasted), np.asarray(paste_back(younger, photo, network=tiny_generator)))
    for name in ("a.png", "a.jpg", "a.webp"):
        pasted.save(tmp_path / name)
        with Image.open(tmp_path / name) as again:
            assert again.getexif().get(Base.Orientation, 1) == 1
            assert again.getexif()[Base.Copyright] == "me"
        assert COMPOSITE.encode() in (tmp_path / name).read_bytes()


def test_a_drawn_picture_says_so_too(younger, tiny_generator):
    picture = younger.image(tiny_generator)
    assert isinstance(picture, MarkedImage)
    file = io.BytesIO()
    picture.save(file, "JPEG")
    assert COMPOSITE.encode() in file.getvalue()
    assert b"smile +2" in file.getvalue()


def test_what_is_refused(younger, photo, tiny_generator, tmp_path):
    with pytest.raises(UnknownNameError, match="blend"):
        paste_back(younger, photo, blend="mix", network=tiny_generator)
    with pytest.raises(UsageError, match="place in a photo"):
        paste_back(younger.replace(face_to_photo=None), photo, network=tiny_generator)
    with pytest.raises(UsageError, match="at least one"):
        paste_back([], photo, network=tiny_generator)
    far = younger.replace(face_to_photo=np.array([[1.0, 0, 5000], [0, 1, 5000], [0, 0, 1]]))
    with pytest.raises(UsageError, match="outside this photo"):
        paste_back(far, photo, network=tiny_generator)
    with pytest.raises(PhotoError, match="does not exist"):
        paste_back(younger, tmp_path / "none.jpg", network=tiny_generator)
    with pytest.raises(UsageError, match="belongs to the network"):
        paste_back(younger.replace(network="tiny@000000000000"), photo, network=tiny_generator)
