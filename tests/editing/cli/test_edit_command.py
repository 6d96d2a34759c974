import json
import os

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from invented import invented
from PIL import Image

from editing import Direction
from editing.__main__ import main
from inversion import Inversion
from inversion.batch.jobs import open_job
from relatent.core.claims import take
from relatent.core.images import read_photo, to_pixels
from relatent.core.provenance import COMPOSITE
from relatent.face.crop import cut_crop, pack_crop
from stylegan import load, network_id, save_generator


@pytest.fixture
def network(tiny_generator, tmp_path):
    save_generator(tiny_generator, tmp_path / "tiny.safetensors")
    return load(tmp_path / "tiny.safetensors")


@pytest.fixture
def home(network, tmp_path, monkeypatch):
    """out/me and out/me-face2, two faces of photos/me.png, and two directions in directions/."""
    monkeypatch.chdir(tmp_path)
    y, x = np.mgrid[:120, :160]
    (tmp_path / "photos").mkdir()
    photo = tmp_path / "photos" / "me.png"
    Image.fromarray(np.stack([x + 40, y + 60, 200 - x], axis=-1).clip(0, 255).astype(np.uint8)).save(photo)
    torch.manual_seed(3)
    for name in ("smile", "age"):
        Direction(torch.randn(24), name, network_id(network)).save(tmp_path / "directions" / f"{name}.safetensors")
    for face, stem in enumerate(("me", "me-face2"), start=1):
        folder = tmp_path / "out" / stem
        place = np.array([[2.0, 0, 70 * face - 60], [0, 2, 5], [0, 0, 1]])
        invented(network, face).replace(photo="me.png", face_to_photo=place).save(folder / "inversion.safetensors")
        made_from = {"name": "me.png", "file": str(photo), "sha256": open_job(photo).digest, "face": face, "faces": 2}
        (folder / "report.json").write_text(json.dumps({"network": network_id(network), "photo": made_from}))
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(main, ["edit", *map(str, arguments)], catch_exceptions=False)


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_what_is_promised_is_written(home, network):
    result = run("out/me", "--set", "smile=2", "--set", "age=-1")
    assert result.exit_code == 0, result.output
    folder = home / "out" / "me"
    assert {path.name for path in folder.iterdir()} == {
        "inversion.safetensors", "report.json", "edited.png", "drawn.png", "pasted.png", "edited.safetensors"
    }  # fmt: skip
    edited = Inversion.load(folder / "edited.safetensors")
    assert edited.edits == {"smile": 2.0, "age": -1.0}
    np.testing.assert_array_equal(pixels(folder / "drawn.png"), to_pixels(edited.tensor(network))[0])
    face = cut_crop(pixels(folder / "pasted.png").astype(np.uint8), edited.face_to_photo, 32, 64)
    np.testing.assert_array_equal(pixels(folder / "edited.png"), face)
    assert pixels(folder / "pasted.png").shape == (120, 160, 3)
    report = json.loads((folder / "report.json").read_text())
    assert report["photo"]["face"] == 1  # the inversion's own report goes on
    assert report["edit"]["edits"] == {"smile": 2.0, "age": -1.0}
    assert report["edit"]["directions"]["smile"]["network"] == network_id(network)
    for name in ("edited.png", "drawn.png", "pasted.png"):
        data = (folder / name).read_bytes()
        assert COMPOSITE.encode() in data
        assert b"smile +2, age -1" in data


def test_another_outdir_leaves_the_inversion_alone(home):
    before = {path: path.read_bytes() for path in (home / "out" / "me").iterdir()}
    assert run("out/me", "--set", "smile=0", "--outdir", "new").exit_code == 0
    assert {path: path.read_bytes() for path in (home / "out" / "me").iterdir()} == before
    assert {path.name for path in (home / "new" / "me").iterdir()} == {
        "report.json", "edited.png", "drawn.png", "pasted.png", "edited.safetensors"
    }  # fmt: skip
    np.testing.assert_array_equal(pixels("new/me/pasted.png"), pixels("photos/me.png"))


def test_faces_of_one_photo_are_pasted_together(home):
    assert run("out", "--set", "smile=2", "--outdir", "new").exit_code == 0
    both, again = pixels("new/me/pasted.png"), pixels("new/me-face2/pasted.png")
    np.testing.assert_array_equal(both, again)
    changed = np.abs(both - pixels("photos/me.png")).max(axis=2).max(axis=0) > 0
    assert changed[20:60].any()
    assert changed[90:130].any()
    run("out/me", "--set", "smile=2", "--outdir", "alone", "--blend", "difference")
    changed = np.abs(pixels("alone/me/pasted.png") - pixels("photos/me.png")).max(axis=2).max(axis=0) > 0
    assert not changed[80:].any()


def test_an_edit_of_an_edit(home):
    assert run("out/me", "--set", "smile=2", "--outdir", "a").exit_code == 0
    result = run("a/me/edited.safetensors", "--set", "smile=1", "--outdir", "b")
    assert result.exit_code == 0, result.output
    assert Inversion.load("b/me/edited.safetensors").edits == {"smile": 3.0}
    assert (home / "b" / "me" / "pasted.png").exists()
    result = run("a/me/edited.safetensors", "--set", "smile=1")
    assert result.exit_code == 2
    assert "would replace" in result.stderr


def test_strips_and_grids(home, network):
    assert run("out/me", "--sweep", "smile=-2:2:5", "--at", "network").exit_code == 0
    strip = pixels("out/me/sweep.png")
    assert strip.shape == (32, 160, 3)
    me = Inversion.load("out/me")
    np.testing.assert_array_equal(strip[:, 64:96], to_pixels(me.tensor(network))[0])
    assert not (home / "out" / "me" / "edited.png").exists()
    grid = ("--sweep", "smile=-1:1:3", "--sweep", "age=0:1:2")
    assert run("out/me", *grid, "--set", "age=1", "--at", "network").exit_code == 0
    cells = pixels("out/me/sweep.png")
    assert cells.shape == (96, 64, 3)
    edited = Inversion.load("out/me/edited.safetensors")
    np.testing.assert_array_equal(cells[32:64, :32], to_pixels(edited.tensor(network))[0])
    assert COMPOSITE.encode() in (home / "out" / "me" / "sweep.png").read_bytes()


def test_strips_at_the_photo_s_resolution(home):
    assert run("out/me", "--sweep", "smile=0:2:3").exit_code == 0
    strip = pixels("out/me/sweep.png")
    assert strip.shape == (64, 3 * 64, 3)
    photo = pixels("photos/me.png")[5:69, 10:74]
    np.testing.assert_allclose(strip[2:-2, 2:62], photo[2:-2, 2:62], atol=1.5)  # half a pixel of a ramp
    assert np.abs(strip[:, 128:] - strip[:, :64]).max() > 20


def test_a_face_kept_with_the_latent_needs_no_photo(home, network):
    me = Inversion.load("out/me")
    photo = read_photo("photos/me.png")
    me.replace(crop=pack_crop(photo.pixels, me.face_to_photo, 32)).save("out/me/inversion.safetensors")
    assert run("out/me", "--set", "smile=2", "--sweep", "age=0:1:2").exit_code == 0
    with_photo, strip = pixels("out/me/edited.png"), pixels("out/me/sweep.png")
    (home / "photos" / "me.png").unlink()
    result = run("out/me", "--set", "smile=2", "--sweep", "age=0:1:2")
    assert "was not found" in result.stderr
    assert not (home / "out" / "me" / "pasted.png").exists()
    without, again = pixels("out/me/edited.png"), pixels("out/me/sweep.png")
    assert without.shape == with_photo.shape
    assert np.abs(without - with_photo).mean() < 6
    assert np.abs(again - strip).mean() < 6
    assert run("out/me", "--set", "smile=2", "--at", "network").exit_code == 0
    np.testing.assert_array_equal(pixels("out/me/edited.png"), pixels("out/me/drawn.png"))
    me.replace(crop=b"no picture").save("out/me/inversion.safetensors")
    result = run("out/me", "--set", "smile=2")
    assert result.exit_code == 1
    assert "the face kept with the latent" in result.stderr


def test_regions(home):
    assert run("out/me", "--set", "smile=2", "--only", "mouth", "--keep", "background").exit_code == 0
    assert Inversion.load("out/me/edited.safetensors").mask.mean() < 0.5
    report = json.loads((home / "out" / "me" / "report.json").read_text())
    assert report["edit"]["only"] == ["mouth"]


def test_photos_are_known_by_their_content(home):
    (home / "photos" / "me.png").rename(home / "moved.png")
    result = run("out/me", "--set", "smile=1")
    assert result.exit_code == 0
    assert "me.png that me was made from was not found" in result.stderr
    assert "--photo" in result.stderr
    assert not (home / "out" / "me" / "pasted.png").exists()
    assert run("out/me", "--set", "smile=1", "--photo", "moved.png").stderr == ""
    assert (home / "out" / "me" / "pasted.png").exists()
    run("out/me", "--set", "smile=1")
    assert not (home / "out" / "me" / "pasted.png").exists()  # an old one would show another edit
    Image.new("RGB", (160, 120)).save(home / "photos" / "me.png")
    assert "was not found" in run("out/me", "--set", "smile=1", "--photo", "photos").stderr
    assert "is not the file" in run("out/me", "--set", "smile=1", "--photo", "photos/me.png").stderr


def test_no_metadata(home):
    result = run("out/me", "--set", "smile=1", "--no-metadata")
    assert result.exit_code == 0
    assert "will not say that a network took part" in result.stderr
    for name in ("edited.png", "drawn.png", "pasted.png"):
        data = (home / "out" / "me" / name).read_bytes()
        assert b"Relatent" not in data
        assert COMPOSITE.encode() not in data


def test_one_that_fails_does_not_stop_the_others(home):
    (home / "out" / "me" / "inversion.safetensors").write_text("not a latent")
    result = run("out/me", "out/me-face2", "nowhere", "--set", "smile=1")
    assert result.exit_code == 1
    assert result.stderr.count("error:") == 2
    assert "2 of 3 failed" in result.stderr
    assert (home / "out" / "me-face2" / "edited.png").exists()


def test_a_foreign_direction_is_refused(home):
    Direction(torch.zeros(24), "smile", "tiny@000000000000").save(home / "far" / "laugh.safetensors")
    result = run("out/me", "--set", "far/laugh.safetensors=1")
    assert result.exit_code == 2
    assert "belongs to the network tiny@000000000000" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to do"),
        (["--set", "smile"], "NAME=STRENGTH"),
        (["--set", "smile=much"], "NAME=STRENGTH"),
        (["--set", "smile=inf"], "NAME=STRENGTH"),
        (["--set", "smile=1e39"], "the strength of smile is 1e+39"),
        (["--set", "smile=1", "--truncation", "1e39"], "the truncation is 1e+39"),
        (["--set", "smile=1", "--truncation", "nan"], "--truncation-psi is nan"),
        (["--sweep", "smile=0:1e39:3"], "the strength of smile is 1e+39"),
        (["--sweep", "smile=0:1:" + "9" * 5000], "FROM:TO:COUNT"),
        (["--set", "smile=1", "--set", "smile=2"], "twice"),
        (["--set", "smlie=1"], "did you mean smile"),
        (["--sweep", "smile=1:2"], "FROM:TO:COUNT"),
        (["--sweep", "smile=1:2:0"], "FROM:TO:COUNT"),
        (["--sweep", "smile=1:2:3:4"], "FROM:TO:COUNT"),
        (["--sweep", "smile=0:1:401"], "at most 400"),
        (["--sweep", "smile=0:1:2", "--sweep", "smile=0:1:3"], "two different ones"),
        (["--set", "smile=1", "--only", "elbow"], "elbow"),
        (["--set", "smile=1", "--blend", "mix"], "mix"),
    ],
)
def test_wrong_usage(home, arguments, words):
    result = run("out/me", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_what_cannot_be_written_is_said(home):
    (home / "file").touch()
    result = run("out/me", "--set", "smile=1", "--outdir", "file")
    assert result.exit_code == 1
    assert "cannot write" in result.stderr
    result = run("out/me", "--set", "smile=1", "--photo", "nowhere.jpg")
    assert result.exit_code == 1
    assert "does not exist" in result.stderr


def test_only_some_layers_move(home):
    assert run("out/me", "--set", "smile=2", "--layers", "0-1").exit_code == 0
    before = Inversion.load(home / "out" / "me")
    after = Inversion.load(home / "out" / "me" / "edited.safetensors")
    assert (after.ws != before.ws).any(dim=2)[0].tolist() == [True, True] + [False] * (before.ws.shape[1] - 2)
    refused = run("out/me", "--set", "smile=2", "--layers", "99")
    assert refused.exit_code != 0
    assert "layer 99 is not in this network" in refused.output


def test_truncation_goes_towards_the_average_face_before_the_edits(home, network):
    assert run("out/me", "--set", "smile=2", "--truncation", "0.5").exit_code == 0
    before = Inversion.load(home / "out" / "me")
    after = Inversion.load(home / "out" / "me" / "edited.safetensors")
    smile = Direction.load(home / "directions" / "smile.safetensors")
    wanted = network.w_avg + 0.5 * (before.ws - network.w_avg) + 2 * smile.vector
    torch.testing.assert_close(after.ws, wanted)


def test_pastes_with_the_network_that_was_named(home, monkeypatch):
    """A network that has moved is named with --network; pasting must not look where it was."""
    (home / "tiny.safetensors").rename(home / "moved.safetensors")
    read = []
    original = Inversion.open_network
    monkeypatch.setattr(Inversion, "open_network", lambda self: read.append(self) or original(self))
    result = run("out/me", "out/me-face2", "--set", "smile=2", "--network", "moved.safetensors", "--photo", "photos")
    assert result.exit_code == 0, result.output
    assert (home / "out" / "me" / "pasted.png").exists()
    assert read == []


def inverted_again(home, network, seed=9):
    """b/me: another inversion of the face of out/me."""
    folder = home / "b" / "me"
    place = Inversion.load("out/me").face_to_photo.copy()
    place[:2, 2] += 3
    invented(network, seed).replace(photo="me.png", face_to_photo=place).save(folder / "inversion.safetensors")
    (folder / "report.json").write_bytes((home / "out" / "me" / "report.json").read_bytes())
    return folder


def test_two_inversions_of_one_face_are_pasted_each_alone(home, network):
    inverted_again(home, network)
    assert run("out/me", "--set", "smile=2").exit_code == 0
    alone = (home / "out" / "me" / "pasted.png").read_bytes()
    assert run("out/me", "b/me", "--set", "smile=2").exit_code == 0
    assert (home / "out" / "me" / "pasted.png").read_bytes() == alone
    assert (home / "b" / "me" / "pasted.png").read_bytes() != alone
    assert run("out", "b/me", "--set", "smile=2").exit_code == 0  # with the photo's other face they go on being pasted
    both, other = pixels("out/me/pasted.png"), pixels("b/me/pasted.png")
    np.testing.assert_array_equal(both, pixels("out/me-face2/pasted.png"))
    np.testing.assert_array_equal(both[:, 90:], other[:, 90:])


def test_below_an_outdir_every_inversion_has_a_folder(home, network):
    inverted_again(home, network)
    (home / "new" / "me").mkdir(parents=True)
    (home / "new" / "me" / "diary.txt").write_text("mine")
    result = run("out/me", "b/me", "--set", "smile=2", "--outdir", "new")
    assert result.stdout.split() == ["new/me-2", "new/me-3"], result.output
    before = (home / "new" / "me-3" / "edited.safetensors").read_bytes()
    assert run("out/me", "--set", "smile=1", "--outdir", "new").stdout.split() == ["new/me-2"]  # its own, again
    assert Inversion.load("new/me-2/edited.safetensors").edits == {"smile": 1.0}
    assert (home / "new" / "me-3" / "edited.safetensors").read_bytes() == before
    assert [path.name for path in (home / "new" / "me").iterdir()] == ["diary.txt"]


def test_an_outdir_of_an_earlier_version_goes_on(home):
    assert run("out/me", "--set", "smile=2", "--outdir", "new").exit_code == 0
    report = json.loads((home / "new" / "me" / "report.json").read_text())
    del report["files"], report["source"]
    (home / "new" / "me" / "report.json").write_text(json.dumps(report))
    assert run("out/me", "--set", "smile=1", "--outdir", "new").stdout.split() == ["new/me"]
    assert run("out/me-face2", "--set", "smile=1", "--outdir", "new").stdout.split() == ["new/me-face2"]


def test_the_own_folder_may_be_named(home):
    assert run("out/me", "--set", "smile=2", "--outdir", "out").stdout.split() == ["out/me"]


def test_an_inversion_that_comes_twice_is_edited_once(home):
    result = run("out/me", home / "out" / "me", "out/me/inversion.safetensors", "--set", "smile=2")
    assert result.stdout.split() == ["out/me"], result.output


@pytest.mark.parametrize("name", ["edited.png", "edited.safetensors", "pasted.png"])
def test_foreign_files_are_never_replaced(home, name):
    (home / "out" / "me" / name).write_text("mine")
    result = run("out/me", "--set", "smile=2")
    assert result.exit_code == 1
    assert f"{name} is not a file that Relatent wrote" in result.stderr
    assert (home / "out" / "me" / name).read_text() == "mine"
    assert not list((home / "out" / "me").glob(".*"))


def test_own_files_are_replaced_unless_they_were_changed(home):
    for strength in (1, 2):
        assert run("out/me", "--set", f"smile={strength}").exit_code == 0
    assert Inversion.load("out/me/edited.safetensors").edits == {"smile": 2.0}
    (home / "out" / "me" / "edited.png").write_text("retouched")
    assert "was changed since" in run("out/me", "--set", "smile=3").stderr
    assert Inversion.load("out/me/edited.safetensors").edits == {"smile": 2.0}


def test_another_process_at_work_is_told(home):
    claim = take(home / "out" / "me", {})
    result = run("out/me", "out/me-face2", "--set", "smile=2")
    claim.release()
    assert result.exit_code == 1
    assert "out/me is being written by another process" in result.stderr
    assert (home / "out" / "me-face2" / "edited.png").exists()


def test_an_edited_latent_remembers_where_its_network_is_now(home, monkeypatch):
    (home / "tiny.safetensors").rename(home / "moved.safetensors")
    assert run("out/me", "--set", "smile=2", "--network", "moved.safetensors").exit_code == 0
    monkeypatch.chdir(home / "photos")  # a relative path would be of no use here
    edited = Inversion.load(home / "out" / "me" / "edited.safetensors")
    assert edited.network_file == str(home / "moved.safetensors")
    assert edited.image().size == (32, 32)


def test_numbers_that_lead_nowhere_write_nothing(home, network):
    Direction(torch.full((24,), 1e38), "far", network_id(network)).save(home / "directions" / "far.safetensors")
    result = run("out/me", "--set", "far=10", "--outdir", "new")
    assert result.exit_code == 2
    assert "no network can draw" in result.stderr
    assert not (home / "new").exists()


def test_an_empty_argument_is_not_the_current_folder(home):
    for arguments in ([""], ["out/me", "--outdir", ""]):
        result = run(*arguments, "--set", "smile=1")
        assert result.exit_code == 2
        assert "an empty " in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="there file names are text")
def test_names_that_are_no_text(home):
    name = os.fsdecode(b"caf\xe9")
    (home / "out" / "me").rename(home / "out" / name)
    result = run(f"out/{name}", "--set", "smile=1")
    assert result.exit_code == 0, result.output
    assert "caf\\xe9" in result.stdout
    assert (home / "out" / name / "edited.png").exists()


def test_the_edited_face_is_drawn_once(home, monkeypatch):
    """For the photo and for drawn.png alike; the face before the edit is the other drawing."""
    drawings = []
    original = Inversion.tensor
    monkeypatch.setattr(Inversion, "tensor", lambda self, *rest: drawings.append(self.edits) or original(self, *rest))
    assert run("out/me", "--set", "smile=2").exit_code == 0
    assert sorted(map(len, drawings)) == [0, 1]
