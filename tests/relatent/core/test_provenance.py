import copy
import io
import pickle

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.ExifTags import IFD, Base
from profiles import grey_profile

from relatent.core.errors import OutputError, UsageError
from relatent.core.images import Photo, read_photo
from relatent.core.images.decoding import xmp_of
from relatent.core.provenance import COMPOSITE, MarkedImage, software_tag
from relatent.core.provenance import FORMATS as KNOWN_FORMATS

Image.init()
FORMATS = [kind for kind in KNOWN_FORMATS if kind in Image.SAVE]  # AVIF needs Pillow 11.3
SOFTWARE = software_tag("faces-128@0123456789ab", {"smile": 2.0, "age": -1.0})
RIGHTS = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:rights="mine"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


@pytest.fixture
def photo(pixels):
    """A photo that lies on its side, with a thumbnail, a place, a profile and rights."""
    exif = Image.Exif()
    exif[Base.Orientation] = 6
    exif[Base.Make] = "Camera"
    exif[Base.Software] = "camera firmware"
    exif[IFD.Exif] = {Base.ExposureTime: 0.01}
    exif[IFD.GPSInfo] = {1: "N"}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    file = io.BytesIO()
    picture = Image.fromarray(pixels)
    picture.save(file, "WEBP", lossless=True, exif=exif.tobytes(), icc_profile=profile, xmp=RIGHTS)
    return read_photo(file.getvalue())


def saved(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    again = Image.open(io.BytesIO(file.getvalue()))
    again.load()
    return again, file.getvalue()


def packet_of(picture):
    return xmp_of(picture) or b""


def test_the_tag_names_network_and_edits():
    assert "faces-128@0123456789ab" in SOFTWARE
    assert "smile +2, age -1" in SOFTWARE
    assert "edits none" in software_tag("faces-128@0123456789ab")


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_carries_the_mark(pixels, kind):
    again, data = saved(MarkedImage(pixels, SOFTWARE), kind)
    assert again.format == kind
    assert COMPOSITE.encode() in packet_of(again)
    assert SOFTWARE.encode() in packet_of(again)
    assert again.getexif()[Base.Software] == SOFTWARE
    assert COMPOSITE.encode() in data  # findable without understanding the format


@pytest.mark.parametrize("kind", FORMATS)
def test_what_the_photo_says_is_kept(photo, kind):
    again, _ = saved(MarkedImage(photo.pixels, SOFTWARE, photo), kind)
    exif = again.getexif()
    assert again.size == (24, 40)  # upright
    assert exif.get(Base.Orientation, 1) == 1
    assert exif[Base.Make] == "Camera"
    assert exif[Base.Software] == SOFTWARE
    assert exif.get_ifd(IFD.Exif)[Base.ExposureTime] == pytest.approx(0.01)
    assert exif.get_ifd(IFD.GPSInfo)[1] == "N"
    assert again.info["icc_profile"] == photo.icc_profile
    assert b"mine" in packet_of(again)
    assert COMPOSITE.encode() in packet_of(again)


@pytest.mark.parametrize("kind", [*FORMATS, "BMP"])
def test_no_metadata_leaves_pixels_and_profile(photo, kind):
    again, data = saved(MarkedImage(photo.pixels, SOFTWARE, photo), kind, metadata=False)
    assert not packet_of(again)
    assert not dict(again.getexif())
    assert b"Relatent" not in data
    assert b"Camera" not in data
    if kind != "BMP":
        assert again.info["icc_profile"] == photo.icc_profile


def test_a_thumbnail_of_the_old_picture_goes(pixels):
    """EXIF thumbnails are copies of the photo before the edit."""
    thumbnail, tiff = io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels).save(thumbnail, "JPEG")
    secret = thumbnail.getvalue()
    # IFD0 with one tag (Make, 4 bytes in place), then IFD1 with the thumbnail's offset and length
    tiff.write(b"Exif\0\0II*\0\x08\0\0\0" + b"\x01\0\x0f\x01\x02\0\x04\0\0\0Cam\0" + (26).to_bytes(4, "little"))
    tiff.write(b"\x02\0\x01\x02\x04\0\x01\0\0\0" + (56).to_bytes(4, "little"))
    tiff.write(b"\x02\x02\x04\0\x01\0\0\0" + len(secret).to_bytes(4, "little") + b"\0\0\0\0" + secret)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", exif=tiff.getvalue())
    assert secret in file.getvalue()
    photo = read_photo(file.getvalue())
    again, data = saved(MarkedImage(photo.pixels, SOFTWARE, photo), "JPEG")
    assert again.getexif()[Base.Make] == "Cam"
    assert secret not in data


def test_pixels_survive_and_suffixes_choose(pixels, tmp_path):
    picture = MarkedImage(pixels, SOFTWARE)
    np.testing.assert_array_equal(np.asarray(picture), pixels)
    picture.save(tmp_path / "new" / "a.png")
    np.testing.assert_array_equal(read_photo(tmp_path / "new" / "a.png").pixels, pixels)
    for suffix, kind in ((".jpg", "JPEG"), (".jpeg", "JPEG"), (".webp", "WEBP"), (".PNG", "PNG")):
        picture.save(str(tmp_path / f"b{suffix}"))
        with Image.open(tmp_path / f"b{suffix}") as again:
            assert again.format == kind
    assert len(list(tmp_path.iterdir())) == 5  # nothing temporary is left
    picture.save(tmp_path / "rough.jpg", quality=10)
    assert (tmp_path / "rough.jpg").stat().st_size < (tmp_path / "b.jpg").stat().st_size


@pytest.mark.parametrize(
    "way", [copy.copy, copy.deepcopy, MarkedImage.copy, lambda one: pickle.loads(pickle.dumps(one))]
)
def test_copies_keep_the_mark(pixels, tmp_path, way):
    for kept in (pixels, pixels.astype(np.uint16) * 257):
        picture = MarkedImage(kept, SOFTWARE, Photo(pixels, "me.jpg", xmp=None))
        twin = way(picture)
        assert twin == picture
        assert twin.encoded() == picture.encoded()
        assert SOFTWARE.encode() in twin.encoded()
        twin.putpixel((0, 0), (1, 2, 3))
        assert picture.getpixel((0, 0)) == tuple(pixels[0, 0])


def test_what_cannot_carry_the_mark_is_refused(pixels, tmp_path):
    picture = MarkedImage(pixels, SOFTWARE)
    for name in ("a.bmp", "a.gif", "a.unknown", "a"):
        with pytest.raises(UsageError, match="took part"):
            picture.save(tmp_path / name)
    picture.save(tmp_path / "a.bmp", metadata=False)
    with pytest.raises(OutputError, match="UNKNOWN"):
        picture.save(tmp_path / "a.unknown", metadata=False)
    wide = MarkedImage(np.zeros((8, 70_000, 3), np.uint8), SOFTWARE)
    for name in ("a.jpg", "a.webp"):
        with pytest.raises(OutputError, match="Choose another format"):
            wide.save(tmp_path / name)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Choose another folder"):
        picture.save(tmp_path / "file" / "a.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bmp", "file"]


def test_iptc_records_stay_in_jpeg(pixels):
    record = b"\x1c\x02\x74\x00\x04mine"  # copyright notice; an odd length, which is padded
    photo = Photo(pixels, "me", iptc=record)
    for _ in range(2):
        again, data = saved(MarkedImage(pixels, SOFTWARE, photo), "JPEG")
        assert again.info["photoshop"][0x0404] == record
        assert COMPOSITE.encode() in packet_of(again)
        photo = read_photo(data)
        assert photo.iptc == record
    again, _ = saved(MarkedImage(pixels, SOFTWARE, Photo(pixels, "me", iptc=b"x" * 70_000)), "JPEG")
    assert COMPOSITE.encode() in packet_of(again)
    assert "photoshop" not in again.info


def test_metadata_too_large_for_jpeg_gives_way_to_the_mark(pixels):
    exif = Image.Exif()
    exif[Base.ImageDescription] = "x" * 70000
    photo = Photo(pixels, "me", exif=exif.tobytes(), xmp=RIGHTS.replace(b"mine", b"y" * 70000))
    again, _ = saved(MarkedImage(pixels, SOFTWARE, photo), "JPEG")
    assert again.getexif()[Base.Software] == SOFTWARE
    assert COMPOSITE.encode() in packet_of(again)
    again, _ = saved(MarkedImage(pixels, SOFTWARE, photo), "PNG")
    assert b"y" * 70000 in packet_of(again)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_channels_are_written_as_they_look(kind, channels):
    levels = np.random.default_rng(1).integers(60, 200, (24, 40, channels), dtype=np.uint8)
    levels = np.repeat(np.repeat(levels, 8, axis=0), 8, axis=1)  # flat enough for JPEG
    profile = grey_profile(1.8) if channels < 3 else None
    picture = MarkedImage(levels, SOFTWARE, Photo(np.zeros((1, 1, 3), np.uint8), "p", icc_profile=profile))
    shown = read_photo(picture.encoded("PNG")).pixels.astype(int)
    again = read_photo(picture.encoded(kind))
    assert np.abs(again.pixels - shown).mean() < 3
    assert COMPOSITE.encode() in (again.xmp or b"")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_deep_png_holds_what_any_png_of_ours_holds(photo, channels):
    levels = np.random.default_rng(1).integers(0, 65536, (24, 40, channels), dtype=np.uint16)
    again, data = saved(MarkedImage(levels, SOFTWARE, photo), "PNG")
    assert data[24] == 16
    assert again.size == (40, 24)
    assert COMPOSITE.encode() in packet_of(again)
    assert again.getexif()[Base.Software] == SOFTWARE
    assert again.getexif()[Base.Make] == "Camera"
    assert again.info["icc_profile"] == photo.icc_profile
    whole = read_photo(data).original
    order = [0, 0, 0, 1] if channels == 2 else list(range(channels))
    assert np.array_equal(whole, levels[..., order])
    jpeg, _ = saved(MarkedImage(levels, SOFTWARE, photo), "JPEG")  # 8 bits, where there are no more
    assert jpeg.size == (40, 24)
