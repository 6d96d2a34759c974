"""Training pictures from zip files and folders, good and bad."""

from __future__ import annotations

import io
import json
import struct
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from relatent.core.errors import DatasetError
from stylegan.training.data import dataset
from stylegan.training.data.dataset import ImageDataset


def png(value, size=8):
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), (value, 0, 255 - value)).save(buffer, format="PNG")
    return buffer.getvalue()


def make_zip(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def make_folder(path, members):
    for name, data in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.fixture(params=["zip", "folder"])
def make(request, tmp_path):
    """A function that makes data from {name: bytes}, as a zip file or as a folder."""
    if request.param == "zip":
        return lambda members: make_zip(tmp_path / "data.zip", members)
    return lambda members: make_folder(tmp_path / "data", members)


MEMBERS = {"b/1.png": png(1), "a/3.PNG": png(3), "a/2.png": png(2), "a-b/0.png": png(0), "read.me": b"text"}


class TestGood:
    def test_order_is_that_of_the_names(self, make):
        data = ImageDataset(make(MEMBERS), 8)
        assert data.names == ["a-b/0.png", "a/2.png", "a/3.PNG", "b/1.png"]
        images = data.load()
        assert images.dtype == torch.uint8
        assert images.shape == (4, 3, 8, 8)
        assert images[:, 0, 0, 0].tolist() == [0, 2, 3, 1]
        assert images[:, 2, 7, 7].tolist() == [255, 253, 252, 254]
        assert data.classes is None
        assert data.num_classes == 0

    @pytest.mark.parametrize("folder", ["a", "a/", "./a"])
    def test_data_folder(self, make, folder):
        assert ImageDataset(make(MEMBERS), 8, folder).names == ["a/2.png", "a/3.PNG"]

    def test_centre_square_at_the_wanted_size(self, make):
        pixels = np.zeros((16, 32, 3), dtype=np.uint8)
        pixels[:, 8:24] = (np.arange(16) // 2 * 10)[:, None, None]
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG")
        image = ImageDataset(make({"wide.png": buffer.getvalue()}), 8).load()[0]
        assert torch.equal(image, (torch.arange(8) * 10).to(torch.uint8)[None, :, None].expand(3, 8, 8))

    def test_other_kinds_of_pictures(self, make):
        members = {}
        for name, mode in {"grey.png": "L", "alpha.webp": "RGBA", "palette.gif": "P", "cmyk.jpg": "CMYK"}.items():
            buffer = io.BytesIO()
            Image.new(mode, (9, 8)).save(buffer, format={"jpg": "JPEG"}.get(name[-3:], name.split(".")[1].upper()))
            members[name] = buffer.getvalue()
        assert ImageDataset(make(members), 8).load().shape == (4, 3, 8, 8)

    def test_hidden_companions_are_passed_over(self, make):
        members = {"a.png": png(1), "__MACOSX/._a.png": b"no picture", ".hidden/b.png": b"no picture"}
        assert ImageDataset(make(members), 8).names == ["a.png"]

    def test_files_that_are_no_pictures_are_named(self, make, capsys):
        members = {**MEMBERS, "a/notes.txt": b"text", "a/.hidden.png": b"no picture", "dataset.json": b'{"labels": []}'}
        data = ImageDataset(make(members), 8)
        assert data.passed_over == ["a/.hidden.png", "a/notes.txt", "read.me"]
        assert ImageDataset(data.path, 8, "a").passed_over == ["a/.hidden.png", "a/notes.txt"]
        data.load()
        assert capsys.readouterr().err == ""
        data.load(progress=True)
        said = "3 files are no pictures and were passed over: a/.hidden.png, a/notes.txt, read.me."
        assert f"note: {data.path}: {said}" in capsys.readouterr().err

    def test_same_name_twice_in_an_archive(self, tmp_path):
        path = tmp_path / "twice.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.png", png(1))
            with pytest.warns(UserWarning, match="Duplicate name"):
                archive.writestr("a.png", png(2))
        assert ImageDataset(path, 8).names == ["a.png"]

    def test_thousands_are_read(self, tmp_path):
        path = make_zip(tmp_path / "many.zip", {f"{index:05d}.png": png(index % 256) for index in range(3000)})
        images = ImageDataset(path, 8).load()
        assert images[:, 0, 0, 0].tolist() == [index % 256 for index in range(3000)]


class TestClasses:
    def with_labels(self, make, labels, **others):
        text = labels if isinstance(labels, (str, bytes)) else json.dumps({"labels": labels})
        return ImageDataset(make({"a.png": png(1), "b.png": png(2), "dataset.json": text}), 8, **others)

    def test_good(self, make):
        data = self.with_labels(make, [["b.png", 4], ["a.png", 0], ["not there.png", 9]])
        assert data.classes.tolist() == [0, 4]
        assert data.num_classes == 5

    def test_of_a_folder_of_the_data(self, make):
        members = {**MEMBERS, "dataset.json": json.dumps({"labels": [["a/2.png", 1], ["a/3.PNG", 0]]})}
        assert ImageDataset(make(members), 8, "a").classes.tolist() == [1, 0]

    @pytest.mark.parametrize("text", ['{"labels": null}', '{"labels": []}'])
    def test_none(self, make, text):
        assert self.with_labels(make, text).classes is None

    @pytest.mark.parametrize(
        "labels",
        [
            "no JSON",
            b"\xff\xfe\xfa",
            "[]",
            "{}",
            "7",
            "[" * 100_000,
            '{"labels": 7}',
            [["a.png", 0]],
            [["a.png"], ["b.png"]],
            *([["a.png", 0], ["b.png", bad]] for bad in (-1, 1.5, True, "1", None, [0, 1], 10**6, 10**30)),
        ],
        ids=lambda labels: str(labels)[:40],
    )
    def test_bad(self, make, labels):
        with pytest.raises(DatasetError, match=r"dataset\.json cannot be used .* expected") as error:
            self.with_labels(make, labels)
        assert len(str(error.value)) < 600


def refused(path, *words, load=True):
    with pytest.raises(DatasetError) as error:  # noqa: PT012 - either line may refuse
        data = ImageDataset(path, 8)
        if load:
            data.load()
    message = str(error.value)
    assert "\n" not in message
    for word in (str(path), *words):
        assert word in message


class TestBad:
    def test_missing(self, tmp_path):
        refused(tmp_path / "no.zip", "does not exist", "expected a zip file or a folder", load=False)

    @pytest.mark.parametrize(
        "data", [b"", b"This is no archive.", b"PK\x05\x06" + b"\xff" * 18, png(1)], ids=lambda data: repr(data[:9])
    )
    def test_no_zip(self, tmp_path, data):
        (tmp_path / "data.zip").write_bytes(data)
        refused(tmp_path / "data.zip", "is not a zip file", "expected", load=False)

    @pytest.mark.parametrize("members", [{}, {"read.me": b"text"}, {"a.png.txt": png(1)}])
    def test_no_pictures(self, tmp_path, make, members):
        (tmp_path / "data").mkdir()
        refused(make(members), "holds no pictures", "expected", load=False)

    def test_no_such_folder_in_the_data(self, make):
        path = make(MEMBERS)
        with pytest.raises(DatasetError, match=r"folder 'c', holds no pictures"):
            ImageDataset(path, 8, "c")

    @pytest.mark.parametrize(
        "data", [b"", b"This is no picture.", png(1)[:50], png(1, size=4)], ids=["empty", "text", "cut", "tiny"]
    )
    def test_damaged_picture(self, make, data):
        refused(make({"a.png": png(1), "b.png": data}), "b.png")

    def test_bomb(self, make):
        head = png(1)
        huge = struct.pack(">II", 40_000, 40_000)
        refused(make({"a.png": head[:16] + huge + head[24:]}), "a.png")

    @pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_damaged_compression(self, tmp_path, compression):
        noise = np.random.default_rng(0).bytes(5000)
        path = make_zip(tmp_path / "data.zip", {"a.png": noise}, compression)
        data = bytearray(path.read_bytes())
        data[60:400] = bytes(255 - byte for byte in data[60:400])
        path.write_bytes(data)
        refused(path, "a.png cannot be read from the archive")

    def test_wrong_checksum(self, tmp_path):
        path = make_zip(tmp_path / "data.zip", {"a.png": png(1)})
        data = bytearray(path.read_bytes())
        data[60] ^= 1
        path.write_bytes(data)
        refused(path, "a.png cannot be read from the archive")

    def change_directory(self, path, offset, value):
        """Overwrite a field of the one member's entry in the archive's directory."""
        data = bytearray(path.read_bytes())
        entry = data.rindex(b"PK\x01\x02")
        data[entry + offset : entry + offset + len(value)] = value
        path.write_bytes(data)

    def test_member_that_claims_too_much(self, tmp_path):
        path = make_zip(tmp_path / "data.zip", {"a.png": png(1)})
        self.change_directory(path, 24, struct.pack("<I", 2**32 - 2))  # uncompressed size
        refused(path, "a.png claims 4294967294 bytes", "at most")

    def test_labels_that_claim_too_much(self, tmp_path):
        path = make_zip(tmp_path / "data.zip", {"a.png": png(1), "dataset.json": "{}"})
        self.change_directory(path, 24, struct.pack("<I", 2**32 - 2))
        refused(path, "dataset.json claims 4294967294 bytes", load=False)

    def test_member_that_is_not_where_it_says(self, tmp_path):
        path = make_zip(tmp_path / "data.zip", {"a.png": png(1)})
        self.change_directory(path, 42, struct.pack("<I", 5))
        refused(path, "a.png cannot be read from the archive")

    def test_encrypted(self, tmp_path):
        path = make_zip(tmp_path / "data.zip", {"a.png": png(1)})
        self.change_directory(path, 8, struct.pack("<H", 1))
        refused(path, "a.png cannot be read from the archive", "encrypted")

    def test_unknown_compression(self, tmp_path):
        path = make_zip(tmp_path / "data.zip", {"a.png": png(1)})
        self.change_directory(path, 10, struct.pack("<H", 99))
        refused(path, "a.png cannot be read from the archive")

    def test_more_than_memory_holds(self, make, monkeypatch):
        path = make(MEMBERS)
        monkeypatch.setattr(dataset, "MAX_BYTES_IN_MEMORY", 4 * 3 * 8 * 8 - 1)
        refused(path, "are kept in memory", "smaller resolution")

    def test_the_limit_is_checked_before_anything_is_allocated(self, make):
        data = ImageDataset(make(MEMBERS), 2**20)
        with pytest.raises(DatasetError, match=r"needs 12288\.0 GB"):
            data.load()

    @pytest.mark.parametrize("name", ["../../evil.png", "/evil.png", "a/../../evil.png", "C:\\evil.png"])
    def test_paths_that_lead_outside_write_nothing(self, tmp_path, name):
        (tmp_path / "deep" / "er").mkdir(parents=True)
        path = make_zip(tmp_path / "deep" / "er" / "data.zip", {"a.png": png(1), name: png(2)})
        before = sorted(tmp_path.rglob("*"))
        assert len(ImageDataset(path, 8).load()) in (1, 2)
        assert sorted(tmp_path.rglob("*")) == before
