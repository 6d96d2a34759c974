import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from invented import invented
from PIL import Image
from PIL.ExifTags import Base
from profiles import ADOBE_RGB, matrix_profile

from editing import Direction, edit, paste_back
from editing.pasting import BLENDS
from inversion.photos import open_photo
from relatent.core.errors import PhotoError, UnknownNameError, UsageError
from relatent.core.images import read_photo, to_pixels
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
    pasted = np.asarray(paste_back(younger, photo, blend="difference", network=tiny_generator)).astype(int)
    drawn = [to_pixels(one.tensor(tiny_generator))[0].astype(np.float32) for one in (younger, younger.unedited())]
    rounded = paste_difference(photo, *drawn, younger.face_to_photo).astype(int)
    assert 0 < np.abs(pasted - rounded).max() <= 2
    assert np.abs(pasted - photo).max() > 10


@pytest.mark.parametrize("blend", BLENDS)
def test_only_the_face_changes(younger, photo, tiny_generator, blend):
    pasted = np.asarray(paste_back(younger, photo, blend=blend, network=tiny_generator))
    changed = np.abs(pasted.astype(int) - photo).max(axis=2) > 0
    assert changed.any()
    beyond = 32 if blend == "warp" else 0  # colour runs out over skin, at most as far as half the crop's side
    assert not changed[72 + beyond :].any()  # the crop reaches from (9, 4) to (73, 68)
    assert not changed[:, 76 + beyond :].any()


@pytest.mark.parametrize("blend", BLENDS)
def test_a_mask_holds_in_every_blend(younger, photo, tiny_generator, blend):
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., :16] = 1
    pasted = np.asarray(paste_back(younger.replace(mask=mask), photo, blend=blend, network=tiny_generator))
    changed = np.abs(pasted.astype(int) - photo).max(axis=2) > 0
    assert changed[:, :40].any()
    assert not changed[:, 10 + 2 * 18 :].any()


@pytest.mark.parametrize("kind", ["demodulate", "alias_free"])
def test_a_drawn_photo_becomes_the_drawn_edit(tiny_generator, tiny_alias_free, kind):
    """The photo is the unedited drawing, enlarged: inside the face the result is the edited drawing."""
    network = tiny_generator if kind == "demodulate" else tiny_alias_free()
    scale, size = 4, network.resolution
    place = np.array([[scale, 0, 30 + (scale - 1) / 2], [0, scale, 20 + (scale - 1) / 2], [0, 0, 1.0]])
    me = invented(network, 1).replace(face_to_photo=place)
    torch.manual_seed(3)
    other = edit(me, smile=1, directions=[Direction(torch.randn(network.w_dim), "smile", network_id(network))])
    before, after = (to_pixels(one.tensor(network))[0] for one in (me, other))
    large, wanted = (
        cv2.resize(one.astype(np.float32), (size * scale,) * 2, interpolation=cv2.INTER_CUBIC).clip(0, 255)
        for one in (before, after)
    )
    photo = cv2.copyMakeBorder(np.rint(large).astype(np.uint8), 20, 40, 30, 10, cv2.BORDER_REFLECT)
    np.testing.assert_array_equal(np.asarray(paste_back(me, photo, network=network)), photo)
    pasted = np.asarray(paste_back(other, photo, network=network)).astype(float)
    inside = slice(size * scale // 3, -(size * scale // 3))
    shown = pasted[20 : 20 + size * scale, 30 : 30 + size * scale][inside, inside]
    change = np.abs(wanted - large)[inside, inside].mean()
    assert change > 2
    assert np.abs(shown - wanted[inside, inside]).mean() < 0.5 * change


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


def written(picture, kind="PNG"):
    """A pasted photo as its file is read again."""
    return read_photo(picture.encoded(kind))


@pytest.mark.parametrize("blend", BLENDS)
def test_a_photo_in_other_colours_looks_as_one_in_srgb(younger, photo, tiny_generator, blend):
    profile = matrix_profile(ADOBE_RGB, 2.2)
    source = Image.fromarray(photo // 2 + 60)
    source.info["icc_profile"] = profile
    seen = open_photo(source).pixels
    pasted = paste_back(younger, source, blend=blend, network=tiny_generator)
    expected = np.asarray(paste_back(younger, seen, blend=blend, network=tiny_generator)).astype(int)
    again = written(pasted)
    assert again.icc_profile == pasted.info["icc_profile"] == profile
    difference = np.abs(again.pixels - expected)
    shown = ((expected > 2) & (expected < 253)).all(axis=2)  # by both
    assert difference[shown].mean() < 0.5
    untouched = (expected == seen).all(axis=2)
    assert np.array_equal(again.original[untouched], np.asarray(source)[untouched])


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("mode", ["L", "RGB", "LA"])
def test_a_grey_photo_stays_grey(younger, photo, tiny_generator, blend, mode):
    source = Image.fromarray(photo).convert("L").convert(mode)
    pasted = paste_back(younger, source, blend=blend, network=tiny_generator)
    assert pasted.mode == mode
    with Image.open(io.BytesIO(pasted.encoded())) as opened:
        assert opened.mode == mode
    assert np.ptp(written(pasted).pixels.astype(int), axis=2).max() == 0
    assert (np.asarray(pasted) != np.asarray(source)).any()


def test_transparency_stays(younger, photo, tiny_generator, tmp_path):
    source = Image.fromarray(photo)
    opacity = np.linspace(0, 255, photo.shape[0] * photo.shape[1]).astype(np.uint8).reshape(photo.shape[:2])
    source.putalpha(Image.fromarray(opacity))
    source.save(tmp_path / "cut-out.png")
    pasted = paste_back(younger, tmp_path / "cut-out.png", network=tiny_generator)
    again = np.asarray(Image.open(io.BytesIO(pasted.encoded())))
    assert np.array_equal(again[..., 3], opacity)
    changed = (again[..., :3] != photo).any(axis=2)
    assert changed.any()
    assert not changed[opacity == 0].any()
    assert written(pasted, "JPEG").pixels.shape == photo.shape  # which knows no transparency


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_stay_16(younger, photo, tiny_generator, tmp_path, suffix):
    levels = photo.astype(np.uint16) * 257 + np.random.default_rng(0).integers(0, 100, photo.shape, np.uint16)
    cv2.imwrite(str(tmp_path / f"deep.{suffix}"), levels[..., ::-1])
    pasted = paste_back(younger, tmp_path / f"deep.{suffix}", blend="difference", network=tiny_generator)
    pasted.save(tmp_path / "pasted.png")
    again = cv2.imread(str(tmp_path / "pasted.png"), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert again.dtype == np.uint16
    eight_bits = read_photo(tmp_path / f"deep.{suffix}").pixels
    expected = np.asarray(paste_back(younger, eight_bits, blend="difference", network=tiny_generator)).astype(int)
    assert (again == levels).all(axis=2).any()  # beside the face
    assert np.abs(again / 257 - expected).max() < 1.5
    with Image.open(tmp_path / "pasted.png") as opened:
        assert COMPOSITE in opened.info["XML:com.adobe.xmp"]
        assert "smile +2" in opened.info["Software"]


@pytest.mark.parametrize("blend", BLENDS)
def test_changes_of_a_16_bit_photo_are_not_in_steps_of_8_bits(younger, photo, tiny_generator, tmp_path, blend):
    levels = photo.astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "deep.png"), levels[..., ::-1])
    source = read_photo(tmp_path / "deep.png")
    assert source.fine_pixels.dtype == np.float32
    pasted = paste_back(younger, source, blend=blend, network=tiny_generator)
    change = pasted.deep.astype(int) - levels
    coarse = np.asarray(paste_back(younger, source.pixels, blend=blend, network=tiny_generator)).astype(int) - photo
    rounded = np.abs(change / 257 - coarse)
    assert rounded.max() < (0.51 if blend != "warp" else 2)  # warp sharpens what it has moved and rounded
    assert rounded.mean() < 0.25
    if blend != "poisson":  # OpenCV's is of 8 bits
        assert (change[change != 0] % 257 != 0).mean() > 0.5
    unedited = paste_back(younger.unedited(), source, blend="difference", network=tiny_generator)
    assert np.array_equal(unedited.deep, levels)


@pytest.mark.parametrize(
    ("array", "advice"),
    [
        (np.zeros((9, 9, 3)), "Scale it to 0 to 255"),
        (np.zeros((9, 9), np.uint8), "A grey array is read through Pillow"),
        (np.zeros((9, 9, 4), np.uint8), "An array with transparency is read through Pillow"),
        (np.zeros((3, 9, 9), np.uint8), "Move its channels last"),
        (np.zeros((0, 0, 3), np.uint8), "It has no pixels"),
        (np.zeros((0, 9, 3), np.uint8), "It has no pixels"),
        (np.zeros((1, 9, 9, 3), np.uint8), "expected a path, a Pillow image or a uint8 array [H, W, 3]"),
    ],
)
def test_arrays_that_are_no_photo_are_told_how_to_become_one(younger, tiny_generator, array, advice):
    with pytest.raises(UsageError, match="a photo came as an array of") as error:
        paste_back(younger, array, network=tiny_generator)
    assert advice in str(error.value)


CASES = Path(__file__).parents[3] / "shared" / "cases"


@pytest.mark.skipif(not CASES.is_dir(), reason="the pictures are not here")
@pytest.mark.parametrize(("name", "mode"), [("display-p3.jpg", "RGB"), ("bw.jpg", "L"), ("cutout-rgba.png", "RGBA")])
def test_cases(younger, tiny_generator, name, mode):
    pasted = paste_back(younger, CASES / name, network=tiny_generator)
    with Image.open(CASES / name) as opened:
        assert pasted.mode == opened.mode == mode
        assert pasted.info.get("icc_profile") == opened.info.get("icc_profile")
