"""`make-dataset`: which photos become faces of a set, why others do not, and how it goes on."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from skimage import data

from relatent.core.errors import OutputError, UsageError
from relatent.core.files import sha256_of
from relatent.core.results import require_replaceable
from relatent.face.__main__ import main
from relatent.face.dataset import making as face_set
from relatent.face.dataset.duplicates import duplicates
from relatent.face.dataset.options import FaceSetOptions
from relatent.face.dataset.photos import PhotoResult, perceptual_hash, share_outside


def png_of_size(width, height):
    """A PNG whose header claims a size and that holds no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos of one astronaut, good, repeated, small and cut, among files that are none."""
    folder = tmp_path_factory.mktemp("photos")
    face = Image.fromarray(data.astronaut())
    (folder / "her").mkdir()
    face.save(folder / "her" / "a.png")
    face.resize((400, 400), Image.Resampling.LANCZOS).save(folder / "her" / "b.jpg", quality=70)
    face.resize((130, 130), Image.Resampling.LANCZOS).save(folder / "small.png")
    face.crop((150, 60, 300, 250)).resize((600, 760)).save(folder / "cut.png")
    Image.fromarray(data.coffee()[:200, :200]).save(folder / "coffee.png")
    (folder / "text.jpg").write_text("not a picture")
    (folder / "empty.webp").write_bytes(b"")
    (folder / "bomb.png").write_bytes(png_of_size(200_000, 200_000))
    buffer = io.BytesIO()
    face.save(buffer, "PNG")
    (folder / "half.png").write_bytes(buffer.getvalue()[:9000])
    (folder / "list.csv").write_text("a,b")
    return folder


def command(*args, code=0):
    result = CliRunner().invoke(main, ["make-dataset", *map(str, args)])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


@pytest.fixture(scope="module")
def made(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("set") / "faces.zip"
    output = command(photos, out, "--size", 128, "--processes", 1)
    return out, output, json.loads(face_set.report_path(out).read_text())


class TestTheSet:
    def test_one_face_is_left(self, made):
        out, output, _ = made
        with zipfile.ZipFile(out) as file:
            assert file.namelist() == ["her/a.png.png"]
            with Image.open(io.BytesIO(file.read("her/a.png.png"))) as face:
                assert (face.size, face.mode) == ((128, 128), "RGB")
        assert "1 face of 9 photos" in output

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("her/b.jpg", "it looks like her/a.png, which is kept"),
            ("small.png", "would be enlarged"),
            ("cut.png", "lies outside the photo"),
            ("coffee.png", "no face found"),
            ("text.jpg", "text.jpg"),
            ("empty.webp", "empty"),
            ("bomb.png", "bomb.png"),
            ("half.png", "half.png"),
        ],
    )
    def test_every_rejection_has_its_reason(self, made, name, why):
        _, output, report = made
        assert why in " ".join(report["rejected"][name])
        assert f"left out {name}" in output

    def test_report(self, made):
        _, _, report = made
        assert (report["photos"], report["faces"], report["passed over"]) == (9, 1, ["list.csv"])
        assert report["options"]["size"] == 128

    def test_nothing_else_is_left_behind(self, made):
        out, _, _ = made
        assert sorted(file.name for file in out.parent.iterdir()) == ["faces.report.json", "faces.zip"]


class TestGoingOn:
    @pytest.fixture
    def few(self, tmp_path):
        folder = tmp_path / "few"
        folder.mkdir()
        Image.fromarray(data.astronaut()).save(folder / "a.png")
        for index in range(3):
            (folder / f"text{index}.jpg").write_text(f"not a picture {index}")
        return folder

    def test_resumes(self, few, tmp_path, monkeypatch):
        """What was examined before the interrupt is not examined again, and the result is the same."""
        seen = []

        def stopping(path, options):
            seen.append(path.name)
            if len(seen) == 3:
                raise KeyboardInterrupt
            return examine(path, options)

        examine = face_set.examine
        monkeypatch.setattr(face_set.results, "__defaults__", (stopping,))
        out = tmp_path / "faces.zip"
        options = FaceSetOptions(size=64)
        with pytest.raises(KeyboardInterrupt):
            face_set.make_face_set(few, out, options)
        assert not out.exists()
        result = face_set.make_face_set(few, out, options)
        assert (seen, result.faces) == (["a.png", "text0.jpg", "text1.jpg", "text1.jpg", "text2.jpg"], ["a.png.png"])
        again = tmp_path / "again.zip"
        monkeypatch.setattr(face_set.results, "__defaults__", (examine,))
        face_set.make_face_set(few, again, options)
        assert again.read_bytes() == out.read_bytes()
        assert not list(tmp_path.glob("*.parts"))

    def test_its_own_files_below_the_photos_are_no_photos(self, few, monkeypatch):
        """Neither what an interrupted run has left there, nor the results when all is made once more."""
        out, options, examined = few / "faces.zip", FaceSetOptions(size=64), face_set._examined

        def stopping(*args):
            yield next(examined(*args))
            raise KeyboardInterrupt

        monkeypatch.setattr(face_set, "_examined", stopping)
        with pytest.raises(KeyboardInterrupt):
            face_set.make_face_set(few, out, options)
        monkeypatch.setattr(face_set, "_examined", examined)
        assert list(few.glob("faces.zip.parts/*/0.png"))
        monkeypatch.chdir(few)
        for folder, target in ((few, out), (Path(), Path("faces.zip")), (Path(), out)):
            result = face_set.make_face_set(folder, target, options)
            assert (result.photos, result.faces, result.passed_over) == (4, ["a.png.png"], [])

    @pytest.mark.parametrize(
        "content", [b"\xff\xfe", b"{", b"[]", b'{"faces": [1], "rejected": []}', b'{"faces": [], "rejected": 1}']
    )
    def test_a_damaged_record_is_made_again(self, tmp_path, content):
        """A folder of parts may lie on a disk that was full, or be copied by halves."""
        photos, parts, options = tmp_path / "photos", tmp_path / "faces.zip.parts", FaceSetOptions(size=64)
        photos.mkdir()
        (photos / "text.jpg").write_text("not a picture")
        face_set._open_parts(parts, options)
        part = parts / sha256_of(photos / "text.jpg")
        part.mkdir()
        (part / "result.json").write_bytes(content)
        assert list(face_set._examined([photos / "text.jpg"], parts, options, 1)) == [(photos / "text.jpg", part)]
        assert "text.jpg" in json.loads((part / "result.json").read_text())["rejected"][0]

    def test_other_options_begin_anew(self, tmp_path):
        parts = tmp_path / "faces.zip.parts"
        face_set._open_parts(parts, FaceSetOptions(size=64))
        old = parts / ("0" * 64)
        old.mkdir()
        face_set._open_parts(parts, FaceSetOptions(size=64))
        assert old.exists()
        face_set._open_parts(parts, FaceSetOptions(size=65))
        assert not old.exists()

    def test_a_folder_of_somebody_else_is_left_alone(self, few, tmp_path):
        (tmp_path / "faces.zip.parts").mkdir()
        (tmp_path / "faces.zip.parts" / "diary.txt").write_text("dear")
        assert "is not of an earlier run" in command(few, tmp_path / "faces.zip", code=1)
        assert (tmp_path / "faces.zip.parts" / "diary.txt").exists()

    @pytest.mark.parametrize("settings", [b'{"colour": "red"}', b"\xff\xfe", b"[1]", b"["])
    def test_so_is_one_with_options_of_something_else(self, few, tmp_path, settings):
        parts = tmp_path / "faces.zip.parts"
        parts.mkdir()
        (parts / "options.json").write_bytes(settings)
        (parts / "diary.txt").write_text("dear")
        assert "is not of an earlier run" in command(few, tmp_path / "faces.zip", code=1)
        assert (parts / "options.json").read_bytes() == settings
        assert (parts / "diary.txt").exists()

    def test_what_somebody_else_puts_there_stays(self, tmp_path):
        parts = tmp_path / "faces.zip.parts"
        face_set._open_parts(parts, FaceSetOptions(size=64))
        (parts / "diary.txt").write_text("dear")
        with pytest.raises(OutputError, match="is not of an earlier run"):
            face_set._open_parts(parts, FaceSetOptions(size=65))
        assert [path.name for path in parts.iterdir()] == ["diary.txt"]

    def test_dry_run_writes_nothing(self, few, tmp_path):
        output = command(few, tmp_path / "new" / "faces.zip", "--dry-run", "--size", 64, "--processes", 1)
        assert "1 face of 4 photos" in output
        assert not (tmp_path / "new").exists()

    @pytest.mark.slow
    def test_in_several_processes_one_may_die(self, tmp_path):
        """The photo that ends its process is rejected; all others are read."""
        items = [(tmp_path / f"{'bad' if index in (1, 4) else 'good'}{index}.png", tmp_path) for index in range(6)]
        found = {path.name: result.rejected for path, _, result in face_set.results(items, FaceSetOptions(), 2, dying)}
        assert len(found) == 6
        for name, rejected in found.items():
            assert rejected == (
                ("reading it ended the process that did it.",) if name[:3] == "bad" else (f"{name} read",)
            )


def dying(path, _):
    if path.name.startswith("bad"):
        os._exit(9)
    return PhotoResult(rejected=(f"{path.name} read",))


class TestRefused:
    def test_nothing_that_fits(self, tmp_path):
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "text.jpg").write_text("not a picture")
        for out in (tmp_path / "faces.zip", tmp_path / "new" / "folder" / "faces.zip"):
            output = command(tmp_path / "photos", out, "--processes", 1, code=1)
            assert "has a face that fits" in output
            assert [path.name for path in tmp_path.iterdir()] == ["photos"]

    def test_no_photos(self, tmp_path):
        assert "holds no photos" in command(tmp_path, tmp_path / "a.zip", code=1)
        assert "holds no photos" in command(tmp_path / "missing", tmp_path / "a.zip", code=1)

    def test_a_folder_as_target(self, photos, tmp_path):
        for folder in (tmp_path, ".", "..", "/"):
            assert "is a folder" in command(photos, folder, code=1)
        (tmp_path / "faces.report.json").mkdir()
        assert "faces.report.json is a folder" in command(photos, tmp_path / "faces.zip", code=1)
        assert len(list(tmp_path.iterdir())) == 1

    def test_names_that_are_too_long(self, photos, tmp_path):
        for name in ("n" * 245, "n" * 250 + ".zip"):  # the last with .parts
            assert "the name is too long" in command(photos, tmp_path / name, code=1)
        for name in ("n" * 300, "n" * 300 + "/faces.zip"):
            assert "name too long" in command(photos, tmp_path / name, code=2)
        assert "name too long" in command(tmp_path / ("n" * 300), tmp_path / "faces.zip", code=2)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("name", ["faces.zip", "faces.report.json"])
    def test_files_of_somebody_else(self, photos, tmp_path, name):
        """A zip of pictures that Relatent made is not one that Relatent made."""
        with zipfile.ZipFile(tmp_path / name, "w") as file:
            file.writestr("a.json", '{"format": "relatent-metrics-1"}')
        content = (tmp_path / name).read_bytes()
        output = command(photos, tmp_path / "faces.zip", "--size", 64, "--processes", 1, code=2)
        assert f"{name} exists, and does not say that Relatent made it" in output
        assert "choose another OUT" in output
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [content]

    def test_its_own_results_are_replaced(self, made):
        """Zip and report say what they are."""
        out, _, report = made
        assert report["format"] == face_set.FORMAT
        require_replaceable([out, face_set.report_path(out)])

    @pytest.mark.parametrize(
        "changes",
        [
            {"size": 0},
            {"size": True},
            {"scale": float("nan")},
            {"most_outside": 2},
            {"face": "none"},
            {"most_alike": 257},
        ],
    )
    def test_options(self, changes):
        with pytest.raises(UsageError, match="expected"):
            FaceSetOptions(**changes)


class TestParts:
    def test_duplicates_keep_the_largest(self):
        hashes = ["00" * 32, "01" + "00" * 31, "ff" * 32]
        assert duplicates(hashes, [100, 200, 50], 1) == {0: 1}
        assert duplicates(hashes, [100, 200, 50], 0) == {}
        assert duplicates(hashes, [100, 200, 50], -1) == {}
        assert duplicates(hashes, [100, 100, 50], 256) == {1: 0, 2: 0}

    def test_hash_survives_jpeg_and_resizing(self):
        picture = data.astronaut()
        small = np.asarray(Image.fromarray(picture).resize((128, 128), Image.Resampling.LANCZOS))
        other = data.coffee()[:400, :400]
        one, two, three = (int(perceptual_hash(each), 16) for each in (picture, small, other))
        assert (one ^ two).bit_count() <= 20
        assert (one ^ three).bit_count() > 60

    def test_share_outside(self):
        assert share_outside(np.eye(3), 64, (64, 64)) == 0
        moved = np.array([[1.0, 0, 32], [0, 1, 0], [0, 0, 1]])
        assert share_outside(moved, 64, (64, 64)) == pytest.approx(0.5)
