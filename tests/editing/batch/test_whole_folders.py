"""One edit of all faces in the OUTDIR of a batch: kept in its manifest, killed without loss, done once."""

import json
import multiprocessing
import os
import random
import warnings

import numpy as np
import pytest
from click.testing import CliRunner
from invented import invented

from editing.__main__ import main
from editing.batch.bulk import edit_folder, edit_plan
from editing.batch.edit import EditOptions
from editing.batch.inverted import InvertedFaces
from inversion import Inversion
from inversion.batch.opening import opened_manifest
from inversion.batch.status import status
from relatent.core.errors import OutputError, UsageError
from stylegan import load

WRITTEN = {"edited.png", "drawn.png", "pasted.png", "edited.safetensors", "report.json", "inversion.safetensors"}


@pytest.fixture
def batch(home):
    """The folder of three photos with a manifest, and a second face of the photo of "me"."""
    face = home / "out" / "me-face2"
    place = np.array([[2.0, 0, 90], [0, 2, 5], [0, 0, 1]])
    latents = invented(load(home / "tiny.safetensors"), 9)
    latents.replace(photo="me.png", face_to_photo=place).save(face / "inversion.safetensors")
    report = json.loads((home / "out" / "me" / "report.json").read_text())
    (face / "report.json").write_text(json.dumps({**report, "photo": {**report["photo"], "face": 2}}))
    with opened_manifest(home / "out"):
        pass
    return home


def run(*arguments):
    return CliRunner().invoke(main, ["edit", *map(str, arguments)], catch_exceptions=False)


def smiling(home, strength=1.0, **more):
    return EditOptions(strengths={"smile": strength}, folders=(home / "directions",), **more)


def notes(outcomes):
    return [str(one.error or one.note) for one in outcomes]


def times(home):
    return {path: path.stat().st_mtime_ns for path in (home / "out").glob("*/*")}


def test_a_rerun_does_what_is_missing(batch):
    first = run("out", "--set", "smile=2")
    assert first.exit_code == 0, first.output
    assert first.stdout.split() == ["out/me", "out/me-face2", "out/me-2", "out/you"]  # those of a photo together
    assert status(batch / "out").splitlines()[1] == "edits: 4 done, 0 failed, 0 pending"
    before = times(batch)
    again = run("out", "--set", "smile=2")
    assert again.stderr.count("done before") == 4
    assert times(batch) == before
    (batch / "out" / "you" / "edited.safetensors").unlink()
    assert notes(edit_folder("out", smiling(batch, 2))) == ["done before"] * 3 + [""]
    assert run("out", "--set", "smile=1").stderr == ""
    assert Inversion.load("out/me/edited.safetensors").edits == {"smile": 1}
    assert run("out", "--set", "smile=2").stderr == ""  # which another edit had replaced


def test_a_face_that_is_missing_is_done_with_the_others_of_its_photo(batch):
    assert run("out", "--set", "smile=2").exit_code == 0
    both = (batch / "out" / "me" / "pasted.png").read_bytes()
    assert both == (batch / "out" / "me-face2" / "pasted.png").read_bytes()
    (batch / "out" / "me-face2" / "edited.safetensors").unlink()
    assert notes(edit_folder("out", smiling(batch, 2))) == ["", "", "done before", "done before"]
    assert (batch / "out" / "me-face2" / "pasted.png").read_bytes() == both


def test_a_single_photo_that_is_named_is_of_one_face_only(batch):
    """One of several faces is not pasted into whatever photo the command names."""
    photo = batch / "photos" / "you.png"
    for workers in (0, None):
        list(edit_folder("out", smiling(batch, photos=(photo,)), editsdir=batch / f"new{workers}", workers=workers))
        pasted = json.loads((batch / f"new{workers}" / "you" / "report.json").read_text())["edit"]["photo"]
        assert pasted == str(photo)
        assert json.loads((batch / f"new{workers}" / "me-2" / "report.json").read_text())["edit"]["photo"] != str(photo)


def test_failures_are_remembered_until_they_are_to_be_retried(batch):
    (batch / "out" / "you" / "inversion.safetensors").write_bytes(b"damaged")
    first = run("out", "--set", "smile=2")
    assert first.exit_code == 1
    assert "1 of 4 failed." in first.stderr
    assert "edits: 3 done, 1 failed, 0 pending" in status(batch / "out")
    assert "Failed before; --retry-failed" in run("out", "--set", "smile=2").stderr
    assert "Failed before" not in run("out", "--set", "smile=2", "--retry-failed").stderr


def test_sweeps_and_another_folder(batch):
    how = ("--at", "network", "--outdir")
    for _ in range(2):
        result = run("out", "--sweep", "smile=-1:1:2", *how, "new")
        assert sorted(result.stdout.split()) == [f"new/{stem}" for stem in ("me", "me-2", "me-face2", "you")]
    assert result.stderr.count("done before") == 4
    assert (batch / "new" / "me-2" / "sweep.png").is_file()
    assert run("out", "--sweep", "smile=-2:2:2", *how, "new").stderr == ""
    assert run("out", "--sweep", "smile=-2:2:2", *how, "out").stderr == ""
    assert (batch / "out" / "me-2" / "sweep.png").is_file()


def test_a_second_run_is_told(batch):
    with opened_manifest(batch / "out"), pytest.raises(OutputError, match="another run is writing"):
        list(edit_folder("out", smiling(batch)))


def test_stopping_finishes_the_photo_in_hand(batch):
    asked = []
    outcomes = list(edit_folder("out", smiling(batch), stop=lambda: len(asked) == 1 or asked.append(1)))
    assert len(outcomes) == 2
    assert "edits: 2 done, 0 failed, 2 pending" in status(batch / "out")


def test_a_folder_of_somebody_else_is_left_alone(batch):
    """The result gets a number, which the manifest knows."""
    (batch / "out" / "edits" / "me").mkdir(parents=True)
    (batch / "out" / "edits" / "me" / "diary.txt").write_text("mine")
    options = EditOptions(folders=(batch / "directions",))
    for note in ("", "done before"):
        (edited,) = edit_plan("out", [{"photo": "me", "smile": 1}], options)
        assert (edited.folder, edited.note) == (batch.relative_to(batch) / "out" / "edits" / "me-2", note)
    assert [path.name for path in (batch / "out" / "edits" / "me").iterdir()] == ["diary.txt"]


def after_fork(options):
    list(edit_folder("out", options))


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
@pytest.mark.parametrize("most", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments(batch, most):
    rng, kills, strength, done = random.Random(most), 0, 1, 0
    for _ in range(200):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # later Pythons dislike forks
            child = multiprocessing.get_context("fork").Process(target=after_fork, args=(smiling(batch, strength),))
            child.start()
        child.join(rng.uniform(0.05, 0.5) if kills < most else None)
        kills += child.is_alive()
        child.kill()
        child.join()
        with opened_manifest(batch / "out") as manifest:
            query = "SELECT COUNT(*) FROM edits WHERE state = 'done' AND wanted LIKE ?"
            finished = manifest.rows(query, f'%"smile": {strength}.0%')[0][0]
            assert manifest.unfinished_edits() == []
        assert finished >= done
        done = finished
        if done == 4 and kills == most:
            break
        if done == 4:
            strength, done = strength + 1, 0
    assert (done, kills) == (4, most)
    for stem in ("me", "me-2", "me-face2", "you"):
        folder = batch / "out" / stem
        assert {path.name for path in folder.iterdir()} == WRITTEN
        assert Inversion.load(folder / "edited.safetensors").edits == {"smile": strength}
    assert notes(edit_folder("out", smiling(batch, strength))) == ["done before"] * 4


def test_names_of_inversions(batch):
    faces = InvertedFaces(batch / "out")
    assert faces.find("me") == batch / "out" / "me"
    assert faces.find("you.png") == faces.find(str(batch / "photos" / "you.png")) == batch / "out" / "you"
    with pytest.raises(UsageError, match=r"me\.png was inverted to several folders: me, me-2, me-face2"):
        faces.find("me.png")
    for name in ("../out/me", "", "yoo"):
        with pytest.raises(UsageError, match="unknown photo"):
            faces.find(name)
    assert [[file.parent.name for file in group] for group in faces.together()] == [
        ["me", "me-face2"], ["me-2"], ["you"],
    ]  # fmt: skip
