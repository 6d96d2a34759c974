"""A result belongs to a photo, a face and settings: what a second run does again, leaves alone, and never replaces."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from inversion import Inversion, InvertConfig
from inversion.batch import inverter
from inversion.batch.run import BatchOptions, project_photos
from inversion.inputs import InputStream, expand
from inversion.project import main
from relatent.core.errors import PhotoError, UsageError
from relatent.face.landmarks import Face
from stylegan import load


def face_at(x, y, side):
    """A face whose eyes and mouth lie as eyes and mouth do."""
    points = np.tile([0.5, 0.55], (68, 1))
    points[:17] = np.stack([np.linspace(0, 1, 17), 0.3 + 0.7 * np.sin(np.linspace(0, np.pi, 17))], axis=1)
    points[36:42], points[42:48] = [0.3, 0.35], [0.7, 0.35]
    points[48:] = np.stack([np.linspace(0.35, 0.65, 20), np.full(20, 0.75)], axis=1)
    return Face(points * side + [x, y], (x, y, x + side, y + side), 1.0)


@pytest.fixture
def people(monkeypatch):
    """Two people in every photo, found without looking."""
    faces = [face_at(20, 20, 60), face_at(110, 30, 40)]
    monkeypatch.setattr("inversion.pipeline.find_faces", lambda pixels: list(faces))


@pytest.fixture
def run(tiny_file, few_steps, people, tmp_path):
    """Invert photos into tmp_path/out; what became of each."""
    network = load(tiny_file)

    def start(*photos, outdir=tmp_path / "out", overwrite=False, batch_size=None, **choices):
        options = BatchOptions(overwrite=overwrite, batch_size=batch_size)
        return list(project_photos(photos, outdir, network, InvertConfig(**choices), options))

    return start


def picture(path, seed=0):
    path.parent.mkdir(exist_ok=True, parents=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 20, 3), np.uint8)
    Image.fromarray(pixels).resize((200, 120)).save(path)
    return path


def names(folder):
    """The result folders."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def statuses(outcomes):
    return [(one.status, one.folder and one.folder.name) for one in outcomes]


def report(folder):
    return json.loads((folder / "report.json").read_text())


def test_the_second_person_is_inverted_when_asked_for(run, tmp_path, monkeypatch):
    group, out = picture(tmp_path / "group.png"), tmp_path / "out"
    assert statuses(run(group)) == [("done", "group")]
    assert report(out / "group")["photo"]["faces"] == 2  # found, not inverted
    assert statuses(run(group, face="all")) == [("skipped", "group"), ("done", "group-face2")]
    assert [report(out / name)["photo"]["face"] for name in names(out)] == [1, 2]
    monkeypatch.setattr(inverter, "read_photo", lambda *_, **__: pytest.fail("the photo need not be read"))
    assert statuses(run(group, face="all")) == [("skipped", "group"), ("skipped", "group-face2")]
    assert statuses(run(group, face=2)) == [("skipped", "group-face2")]


def test_earlier_versions_counted_what_they_inverted(run, tmp_path):
    group = picture(tmp_path / "group.png")
    run(group)
    old = report(tmp_path / "out" / "group")
    del old["files"]
    old["photo"]["faces"] = 1
    (tmp_path / "out" / "group" / "report.json").write_text(json.dumps(old))
    (tmp_path / "out" / "manifest.sqlite").unlink()  # they had none
    assert statuses(run(group, face="all")) == [("skipped", "group"), ("done", "group-face2")]


def test_other_settings_replace_nothing_unasked(run, tmp_path):
    group, out = picture(tmp_path / "group.png"), tmp_path / "out"
    run(group, face=2, seed=1)
    (out / "group-face2" / "notes.txt").write_text("mine")
    before = {path: path.read_bytes() for path in (out / "group-face2").iterdir()}
    refused, done = run(group, face="all")  # what needs no work is told first
    assert statuses([done]) == [("done", "group")]
    assert refused.status == "failed"
    assert "group-face2 holds group.png inverted with another seed" in refused.message
    assert {path: path.read_bytes() for path in (out / "group-face2").iterdir()} == before
    assert [one.status for one in run(group, face="all", overwrite=True)] == ["done", "done"]
    assert report(out / "group-face2")["seed"] == 303
    assert (out / "group-face2" / "notes.txt").read_text() == "mine"


def test_overwrite_keeps_what_is_not_its_own(run, tmp_path):
    photo, folder = picture(tmp_path / "out" / "me" / "me.png"), tmp_path / "out" / "me"
    assert statuses(run(photo)) == [("done", "me-2")]  # me is the user's
    moved = tmp_path / "out" / "me-2" / "me.png"
    photo.rename(moved)
    folder.rmdir()
    (moved.parent / "edited.png").write_text("painted by hand")
    assert statuses(run(moved, seed=2, overwrite=True)) == [("done", "me")]  # the first name is free again
    before = moved.read_bytes()
    moved = moved.rename(folder / "me.png")
    assert statuses(run(moved, seed=3, overwrite=True)) == [("done", "me")]
    assert moved.read_bytes() == before
    assert report(folder)["seed"] == 3
    assert (tmp_path / "out" / "me-2" / "edited.png").read_text() == "painted by hand"


def test_a_file_in_the_way_is_told_before_the_work(run, tmp_path, monkeypatch):
    photo, folder = picture(tmp_path / "me.png"), tmp_path / "out" / "me"
    run(photo)
    (folder / "proj.png").write_text("retouched")
    monkeypatch.setattr("inversion.pipeline.Pipeline.optimise", lambda *_: pytest.fail("the work would be lost"))
    (outcome,) = run(photo, overwrite=True)
    assert outcome.status == "failed"
    assert "proj.png is not a file that Relatent wrote, or was changed since" in outcome.message
    assert (folder / "proj.png").read_text() == "retouched"
    assert not list(folder.glob(".*"))


def test_stems_that_look_like_faces(run, tmp_path):
    group, other = picture(tmp_path / "group.png"), picture(tmp_path / "group-face2.png", 1)
    done = [("done", name) for name in ("group", "group-face2", "group-face2-2", "group-face2-2-face2")]
    assert statuses(run(group, other, face="all", batch_size=4)) == done
    for folder in (tmp_path / "out" / name for name in names(tmp_path / "out")):
        assert Inversion.load(folder).photo == report(folder)["photo"]["name"]
    again = run(other, group, face="all")
    assert statuses(again) == [("skipped", name) for _, name in (*done[2:], *done[:2])]


def test_a_photo_that_comes_twice_is_inverted_once(run, tmp_path, monkeypatch):
    photo, copy = picture(tmp_path / "me.png"), picture(tmp_path / "copies" / "me.png")
    monkeypatch.chdir(tmp_path)
    found = expand([Path("me.png"), photo, Path("copies/../me.png"), Path()])
    assert found.photos == [Path("me.png"), Path("copies/me.png")]
    first, second = run(photo, copy, batch_size=2)
    assert (first.status, second.status) == ("skipped", "done")  # news of the copy comes while the photo waits
    assert "the same photo as" in first.message
    assert names(tmp_path / "out") == ["me"]


def test_results_are_not_taken_for_photos(run, tmp_path):
    photo = picture(tmp_path / "photos" / "me.png")
    for outdir in (tmp_path / "photos" / "out", tmp_path / "photos"):
        run(photo, outdir=outdir)
    stray = (tmp_path / "photos" / "out" / "me" / "proj.png").rename(tmp_path / "photos" / "stray.png")
    mine = picture(tmp_path / "photos" / "out" / "me" / "holiday.png", 2)
    found = expand([tmp_path / "photos"])
    assert found.photos == [photo, mine]
    assert stray in found.results
    stream = InputStream([tmp_path / "photos"])
    assert list(stream) == [photo, mine]
    assert "left out what Relatent made before" in stream.note()
    assert "manifest" not in stream.note()
    assert expand([stray]).photos == [stray]  # by name it is taken
    (empty,) = expand([tmp_path / "photos" / "me"]).photos
    assert isinstance(empty, PhotoError)
    assert "no pictures but what Relatent made before" in str(empty)


def test_a_result_does_not_depend_on_its_company(run, tmp_path):
    """Bit by bit: convolutions round otherwise in batches of another size, and the steps of L-BFGS amplify it."""
    photos = [picture(tmp_path / f"{name}.png", seed) for seed, name in enumerate("abc")]
    run(*photos, outdir=tmp_path / "together")
    run(photos[1], outdir=tmp_path / "alone")
    together, alone = (Inversion.load(tmp_path / outdir / "b") for outdir in ("together", "alone"))
    assert torch.equal(together.ws, alone.ws)
    assert all(torch.equal(a, b) for a, b in zip(together.noise, alone.noise, strict=True))
    assert (tmp_path / "together/b/proj.png").read_bytes() == (tmp_path / "alone/b/proj.png").read_bytes()


@pytest.mark.parametrize("size", [0, -1, 2.5, "2"])
def test_batch_sizes_that_cannot_be_meant(size):
    with pytest.raises(UsageError, match="batch_size is"):
        BatchOptions(batch_size=size)


@pytest.mark.skipif(os.name == "nt", reason="there file names are text")
def test_names_that_are_no_text_do_not_end_the_batch(tiny_file, few_steps, people, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names_of = [os.fsdecode(name) for name in (b"a.png", b"caf\xe9.png", b"z.png")]
    photos = [picture(tmp_path / "photos" / name, seed) for seed, name in enumerate(names_of)]
    result = CliRunner().invoke(main, [str(tmp_path / "photos"), "--network", str(tiny_file), "--outdir", "out"])
    assert result.exit_code == 0, result.output
    assert "caf\\xe9" in result.stdout
    folder = Path("out") / photos[1].stem
    assert Inversion.load(folder).photo == photos[1].name
    assert report(folder)["photo"]["file"] == str(photos[1].absolute())


def test_an_empty_argument_is_not_the_current_folder():
    for arguments in ([""], ["--target", ""], ["me.png", "--outdir", ""]):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 2
        assert result.stderr == "error: an empty path came. Write . for the current folder.\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seed", "9" * 20], "--seed is 999"),
        (["--num-steps", "9" * 20], "--num-steps is 999"),
        (["--face", "²"], "largest, all, or a number"),
        (["--face", "9" * 5000], "largest, all, or a number"),
        (["--batch-size", "9" * 20], "--batch-size is 999"),
    ],
)
def test_numbers_that_cannot_be_meant(tmp_path, arguments, words):
    result = CliRunner().invoke(main, ["me.png", "--outdir", str(tmp_path / "out"), *arguments])
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
