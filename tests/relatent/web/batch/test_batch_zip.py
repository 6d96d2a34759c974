import struct
import zipfile

import pytest

from relatent.core.errors import PhotoError, UnreadablePhotoError, UsageError
from relatent.web.batch.zip_file import safe_name, unpack_photos, write_results
from relatent.web.uploads import MEGABYTE, Limits


@pytest.fixture
def pack(tmp_path):
    """Write a zip of names and bytes."""

    def make(members, compression=zipfile.ZIP_STORED):
        path = tmp_path / "photos.zip"
        with zipfile.ZipFile(path, "w", compression) as packed:
            for name, data in members.items():
                packed.writestr(zipfile.ZipInfo(name) if name.endswith("/") else name, data)
        return path

    return make


@pytest.fixture
def unpack(tmp_path):
    return lambda path, **limits: unpack_photos(path, tmp_path / "out", Limits(**limits))


def written(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_pictures_come_in_the_order_of_their_names(pack, unpack):
    found = unpack(pack({"b.png": b"bb", "a/c.JPG": b"cc", "readme.txt": b"x", "a/": b""}))
    assert [path.name for path in found.photos] == ["c.jpg", "b.png"]
    assert [path.read_bytes() for path in found.photos] == [b"cc", b"bb"]
    assert found.passed_over == ("readme.txt",)


def test_large_photos_are_read_however_they_are_packed(pack, unpack):
    data = bytes(range(256)) * 8000
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        found = unpack(pack({"a.png": data}, compression), zip_ratio=1000)
        assert found.photos[0].read_bytes() == data


def test_two_of_one_name_are_both_kept(pack, unpack):
    found = unpack(pack({"a/me.png": b"1", "b/me.png": b"2"}))
    assert [path.read_bytes() for path in found.photos] == [b"1", b"2"]


@pytest.mark.parametrize(
    "name", ["../../evil.png", "/etc/evil.png", "..\\..\\evil.png", "C:\\evil.png", "a/../../../evil.png"]
)
def test_no_name_leaves_the_folder(pack, unpack, tmp_path, name):
    found = unpack(pack({name: b"x"}))
    assert [path.relative_to(tmp_path / "out").as_posix() for path in found.photos] == ["0001/evil.png"]
    assert written(tmp_path) == {"photos.zip", "out/0001/evil.png"}


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ("a/Grüße 1.PNG", "Grüße 1.png"),
        ("u\u0308.png", "ü.png"),
        ("..", "photo"),
        ("a/<img onerror=x>.jpg", "_img onerror_x_.jpg"),
        ("x\n\x00\u202e.png", "x___.png"),
        ("a" * 300 + ".jpeg", "a" * 60 + ".jpeg"),
        ("...png", "photo.png"),
    ],
)
def test_names_are_made_harmless(member, expected):
    assert safe_name(member) == expected


def test_hidden_companions_are_passed_over(pack, unpack):
    found = unpack(pack({"__MACOSX/._me.png": b"x", "me.png": b"y"}))
    assert [path.name for path in found.photos] == ["me.png"]


def test_too_many_members_name_the_limit(pack, unpack):
    with pytest.raises(UsageError, match="holds 4 files; at most 3"):
        unpack(pack({f"{n}.png": b"x" for n in range(4)}), zip_members=3)


def test_a_list_of_members_is_not_read_when_it_is_endless(pack, unpack):
    path = pack({f"{'n' * 60}{n}": b"" for n in range(2000)})
    with pytest.raises(UsageError, match="more files; at most 3"):
        unpack(path, zip_members=3)


def test_bytes_in_all_name_the_limit(pack, unpack, tmp_path):
    with pytest.raises(UsageError, match="2 MB of photos unpacked; at most 1 MB"):
        unpack(pack({"a.png": b"x" * MEGABYTE, "b.png": b"y" * MEGABYTE}), zip_bytes=MEGABYTE)
    assert not (tmp_path / "out").exists()


def test_expansion_names_the_limit(pack, unpack, tmp_path):
    bomb = pack({"a.png": b"\0" * 10**6}, zipfile.ZIP_DEFLATED)
    with pytest.raises(UsageError, match=r"would grow to \d+ times its size; at most 50 times"):
        unpack(bomb)
    assert not (tmp_path / "out").exists()


def test_one_large_photo_stops_no_other(pack, unpack):
    found = unpack(pack({"a.png": b"x" * 3 * MEGABYTE, "b.png": b"y"}), upload_bytes=MEGABYTE)
    assert isinstance(found.photos[0], PhotoError)
    assert "3 MB unpacked; at most 1 MB" in str(found.photos[0])
    assert found.photos[1].read_bytes() == b"y"


def test_a_member_larger_than_it_says_is_not_believed(pack, unpack):
    path = pack({"a.png": b"x" * 1000, "b.png": b"y"}, zipfile.ZIP_DEFLATED)
    data = path.read_bytes()
    # The size unpacked stands in the local header and in the list; both are made to lie.
    path.write_bytes(data.replace(struct.pack("<I", 1000), struct.pack("<I", 10)))
    found = unpack(path)
    assert "cannot be unpacked" in str(found.photos[0])
    assert found.photos[1].read_bytes() == b"y"


def test_encrypted_photos_are_told_apart(pack, unpack):
    path = pack({"a.png": b"x"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag in the archive's list
    path.write_bytes(bytes(data))
    assert "encrypted" in str(unpack(path).photos[0])


def test_a_damaged_member_stops_no_other(pack, unpack):
    path = pack({"a.png": b"hello world", "b.png": b"y"})
    path.write_bytes(path.read_bytes().replace(b"hello world", b"hello_world", 1))
    found = unpack(path)
    assert "a.png in photos.zip cannot be unpacked" in str(found.photos[0])
    assert found.photos[1].read_bytes() == b"y"


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x05\x06" + b"\xff" * 18])
def test_what_is_no_zip_is_refused_in_words(unpack, tmp_path, data):
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(UnreadablePhotoError, match=r"x\.zip is not a zip file"):
        unpack(tmp_path / "x.zip")


def test_a_zip_cut_short_is_refused_in_words(pack, unpack):
    path = pack({"a.png": b"x" * 1000})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UnreadablePhotoError, match="not a zip file"):
        unpack(path)


def test_a_zip_without_pictures_says_so(pack, unpack):
    with pytest.raises(PhotoError, match="holds no pictures"):
        unpack(pack({"a.txt": b"x", "inner.zip": b"x"}))


def test_results_come_as_one_zip(tmp_path):
    for name in ("me", "you"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "proj.png").write_bytes(name.encode())
    target = tmp_path / "results.zip"
    write_results(
        {"me": tmp_path / "me", "you-2": tmp_path / "you"}, target, [["=1+1.jpg", 20.5]], header=["photo", "psnr"]
    )
    with zipfile.ZipFile(target) as packed:
        assert packed.testzip() is None
        assert set(packed.namelist()) == {"results.csv", "me/proj.png", "you-2/proj.png"}
        assert packed.read("you-2/proj.png") == b"you"
        assert packed.read("results.csv").decode().splitlines() == ["photo,psnr", "'=1+1.jpg,20.5"]
