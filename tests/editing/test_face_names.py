"""One reader of a face for edit, mix, morph and Python: folders, files, latents of other tools, photos, seeds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from invented import invented
from PIL import Image

from editing import Direction, edit, mix, paste_back
from editing.__main__ import main
from editing.faces import LatentFile, PhotoFile, as_faces, find_faces, look_for_faces, open_face, open_faces
from editing.interpolation import morph
from editing.results import Saved
from editing.seeds import seed_inversion
from inversion import Inversion, invert, presets
from inversion.pipeline import open_network
from inversion.project import demo_photo
from relatent.core.errors import CheckpointError, RelatentError, UsageError
from stylegan import Generator, GeneratorConfig, load, network_id, save_generator


@pytest.fixture
def network(tiny_generator, tmp_path):
    save_generator(tiny_generator, tmp_path / "tiny.safetensors")
    return load(tmp_path / "tiny.safetensors")


@pytest.fixture
def home(network, tmp_path, monkeypatch):
    """An inversion, an edited face in a folder of its own, latents of every kind, and a direction."""
    monkeypatch.chdir(tmp_path)
    me, you = invented(network, 1).replace(photo="me.jpg"), invented(network, 2).replace(photo="you.jpg")
    me.save("out/me/inversion.safetensors")
    np.savez("out/me/projected_w.npz", w=me.ws.numpy())
    torch.manual_seed(3)
    smile = Direction(torch.randn(24), "smile", network_id(network))
    smile.save("directions/smile.safetensors")
    edit(you, smile=1, directions=[smile]).save("smiling/you/edited.safetensors")
    torch.save(me.ws, "0.pt")
    torch.save(torch.cat([me.ws, you.ws]), "latents.pt")
    np.save("latents.npy", {"me.jpg": [me.ws[0].numpy()], "you.jpg": [you.ws[0].numpy()]})
    np.savez("w.npz", w=me.ws[:, :1].numpy())
    return tmp_path


@pytest.fixture
def few_steps(monkeypatch):
    plan = presets.PRESETS["balanced"]
    quick = dataclasses.replace(plan, optimiser=dataclasses.replace(plan.optimiser, num_steps=2))
    monkeypatch.setitem(presets.PRESETS, "balanced", quick)
    return quick


def run(*arguments):
    return CliRunner().invoke(main, [*map(str, arguments)], catch_exceptions=False)


def latent(folder):
    return Inversion.load(Path(folder) / "edited.safetensors").unedited().ws


class TestNames:
    def test_what_each_text_names(self, home):
        found = find_faces(["out/me", "smiling", "0.pt", "latents.npy:me.jpg", "7,9-10"])
        assert [type(one) for one in found] == [Saved, Saved, LatentFile, LatentFile, int, int, int]
        assert [found[0].stem, found[1].stem, found[3].entry, found[6]] == ["me", "you", "me.jpg", 10]

    def test_a_folder_of_latents_alone(self, home):
        (home / "out" / "me" / "inversion.safetensors").unlink()
        assert find_faces(["out/me"]) == [LatentFile(Path("out/me/projected_w.npz"))]

    def test_photos_are_told_by_what_they_are(self, home):
        Image.new("RGB", (64, 64)).save("photo.png")
        assert find_faces(["photo.png"]) == [PhotoFile(Path("photo.png"))]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("nobody", "nobody does not exist; expected an inversion's folder or file, a file of latents, a photo"),
            (
                "pictures",
                r"holds pictures and no inversion.safetensors. Invert them first: python -m inversion.project pi",
            ),
            ("nothing", "nothing holds no inversion.safetensors"),
        ],
    )
    def test_what_is_none(self, home, text, words):
        (home / "nothing").mkdir()
        (home / "pictures").mkdir()
        Image.new("RGB", (64, 64)).save("pictures/a.png")
        with pytest.raises(CheckpointError, match=words):
            find_faces([text])
        good, bad = look_for_faces(["out/me", text])
        assert isinstance(good, Saved)
        assert isinstance(bad, RelatentError)

    def test_each_face_of_a_file_has_a_name_of_its_own(self, home, network):
        faces = as_faces(find_faces(["latents.pt", "latents.npy", "out/me", "latents.npy:you"]), network)
        assert [one.name for one in faces] == [
            "latents-0", "latents-1", "latents-me", "latents-you", "me", "latents-you"
        ]  # fmt: skip


class TestEdit:
    @pytest.mark.parametrize("face", ["0.pt", "w.npz", "out/me/projected_w.npz", "latents.pt:0", "latents.npy:me.jpg"])
    def test_latents(self, home, network, face):
        result = run("edit", face, "--set", "smile=2", "--network", "tiny.safetensors", "--outdir", "new")
        assert result.exit_code == 0, result.output
        (folder,) = (home / "new").iterdir()
        expected = invented(network, 1).ws
        torch.testing.assert_close(latent(folder), expected[:, :1].expand_as(expected) if face == "w.npz" else expected)
        assert {path.name for path in folder.iterdir()} == {
            "edited.png",
            "drawn.png",
            "edited.safetensors",
            "report.json",
        }

    def test_beside_the_latents_by_default(self, home):
        assert run("edit", "0.pt", "--set", "smile=2", "--network", "tiny.safetensors").exit_code == 0
        assert (home / "0" / "edited.png").is_file()
        arguments = ["out/me/projected_w.npz", "--set", "smile=2", "--network", "tiny.safetensors"]
        assert run("edit", *arguments).exit_code == 0
        assert (home / "out" / "me" / "edited.png").is_file()

    def test_all_faces_of_a_file(self, home):
        result = run("edit", "latents.npy", "--set", "smile=2", "--network", "tiny.safetensors", "--outdir", "new")
        assert result.exit_code == 0, result.output
        assert {path.name for path in (home / "new").iterdir()} == {"latents-me", "latents-you"}

    def test_an_edited_face_in_a_folder_of_its_own(self, home):
        result = run("edit", "smiling", "--set", "smile=1", "--outdir", "new")
        assert result.exit_code == 0, result.output
        assert Inversion.load("new/you/edited.safetensors").edits == {"smile": 2.0}

    def test_a_seed(self, home, network):
        arguments = ["edit", "85", "--set", "smile=1", "--network", "tiny.safetensors"]
        assert "--outdir is missing" in run(*arguments).stderr
        result = run(*arguments, "--outdir", "new")
        assert result.exit_code == 0, result.output
        torch.testing.assert_close(latent("new/85"), seed_inversion(network, 85).ws)

    def test_latents_of_another_network_are_refused_in_words(self, home):
        result = run("edit", "0.pt", "--set", "smile=2")  # the embedded network's latents are of other sizes
        assert result.exit_code == 1
        assert "It is a latent of another network. Name that one with --network." in result.stderr
        assert not (home / "0").exists()

    def test_one_that_fails_does_not_stop_the_others(self, home):
        (home / "bad.npy").write_bytes(b"\x93NUMPY")
        options = ["--set", "smile=2", "--network", "tiny.safetensors", "--outdir", "new"]
        result = run("edit", "bad.npy", "nobody", "0.pt", *options)
        assert result.exit_code == 1
        assert "bad.npy is not a readable .npy array" in result.stderr
        assert "nobody does not exist" in result.stderr
        assert (home / "new" / "0" / "edited.png").is_file()

    def test_a_photo_is_inverted_on_the_spot_and_only_once(self, home, few_steps):
        arguments = ["edit", demo_photo(), "--set", "smile=2", "--network", "tiny.safetensors"]
        result = run(*arguments)
        assert result.exit_code == 0, result.output
        folder = home / "out" / "astronaut"
        wanted = {"target.png", "inversion.safetensors", "edited.png", "pasted.png"}
        assert wanted <= {path.name for path in folder.iterdir()}
        assert not np.array_equal(np.asarray(Image.open(folder / "pasted.png")), np.asarray(Image.open(demo_photo())))
        before = (folder / "inversion.safetensors").stat().st_mtime_ns
        assert run(*arguments).exit_code == 0
        assert (folder / "inversion.safetensors").stat().st_mtime_ns == before


class TestMixAndMorph:
    def test_mix_takes_them_all(self, home, network):
        result = run(
            "mix", "out/me", "latents.npy:you.jpg", "smiling/you", "0.pt", "--layers", "coarse", "--layers", "middle",
            "--layers", "0", "--outdir", "mixed",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        me, you = invented(network, 1), invented(network, 2)
        expected = mix(me, [you, Inversion.load("smiling/you/edited.safetensors"), me], ["coarse", "middle", "0"])
        torch.testing.assert_close(Inversion.load("mixed/me/edited.safetensors").ws, expected.ws)

    def test_a_grid_of_a_file_s_faces(self, home):
        arguments = ["--rows", "latents.pt", "--cols", "5", "--network", "tiny.safetensors", "--outdir", "grid"]
        assert run("mix", *arguments).exit_code == 0
        assert {path.name for path in (home / "grid").iterdir()} == {
            "latents-0-5.png", "latents-1-5.png", "latents-0-latents-0.png", "latents-1-latents-1.png", "5-5.png",
            "grid.png", "report.json",
        }  # fmt: skip

    def test_morph_takes_them_too(self, home):
        result = run("morph", "latents.pt", "out/me", "--frames", 3, "--out", "a.gif")
        assert result.exit_code == 0, result.output
        with Image.open("a.gif") as video:
            assert video.n_frames == 3

    def test_one_face_is_too_few(self, home):
        assert "1 faces came" in run("mix", "0.pt", "--network", "tiny.safetensors", "--outdir", "x").stderr


class TestPython:
    def test_edit_takes_paths_and_seeds(self, home, network):
        smile = Direction.load("directions/smile.safetensors")
        me = invented(network, 1)
        for face in ("out/me", Path("out/me/inversion.safetensors"), me):
            assert torch.equal(edit(face, smile=2, directions=[smile]).ws, edit(me, smile=2, directions=[smile]).ws)
        found = edit("0.pt", smile=2, directions=[smile], network=network)
        assert torch.equal(found.unedited().ws, me.ws)
        assert torch.equal(
            edit(85, smile=0, directions=[smile], network="tiny.safetensors").ws, open_face(85, network).ws
        )

    def test_mix_takes_the_inversion_s_network_for_latents(self, home, network):
        me, you = invented(network, 1), invented(network, 2)
        expected = mix(me, you, "coarse").ws
        assert torch.equal(mix("out/me", "latents.pt:1").ws, expected)
        assert torch.equal(mix("0.pt", ["latents.npy:you.jpg"], ["coarse"], network=network).ws, expected)

    def test_morph_and_paste_back_take_paths(self, home, network):
        assert torch.equal(morph(["out/me", "latents.pt:1"], network).at(1).ws, invented(network, 2).ws)
        photo = Image.new("RGB", (120, 90), "grey")
        assert paste_back("out/me", photo).size == (120, 90)
        with pytest.raises(UsageError, match="does not know its place in a photo"):
            paste_back("0.pt", photo, network=network)

    def test_a_photo(self, home, network, few_steps):
        found = open_face(str(demo_photo()), network)
        assert found.photo == "astronaut.png"
        assert found.face_to_photo is not None

    def test_several_where_one_belongs(self, home, network):
        with pytest.raises(UsageError, match=r"latents.npy holds 2 faces, me.jpg, you.jpg; .* latents.npy:me.jpg"):
            open_face("latents.npy", network)
        with pytest.raises(UsageError, match="holds 2 faces; expected one"):
            open_face("3,4", network)
        assert len(open_faces(["out/me", "latents.pt:0", 3])) == 3

    @pytest.mark.parametrize("seed", [np.int64(7), np.uint8(7), torch.tensor(7)])
    def test_a_seed_of_another_library(self, network, seed):
        assert torch.equal(open_face(seed, network).ws, seed_inversion(network, 7).ws)

    def test_nothing_that_is_a_face(self, network):
        with pytest.raises(UsageError, match="a photo came as bool"):
            open_face(True, network)


def test_seeds_of_a_network_with_classes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = GeneratorConfig(resolution=8, z_dim=4, w_dim=4, c_dim=3, mapping_layers=1, channel_base=32, channel_max=4)
    torch.manual_seed(0)
    save_generator(Generator(config), Path("classes.safetensors"))
    network = load("classes.safetensors")
    arguments = ["mix", "1", "2", "--layers", "coarse", "--network", "classes.safetensors", "--outdir", "mixed"]
    assert "has 3 classes, and a seed names none. Choose one: --class 0 to 2" in run(*arguments).stderr
    assert run(*arguments, "--class", 2).exit_code == 0
    expected = mix(seed_inversion(network, 1, c=2), seed_inversion(network, 2, c=2), "coarse")
    torch.testing.assert_close(Inversion.load("mixed/1/edited.safetensors").ws, expected.ws)
    assert run(*arguments, "--class", 3).exit_code == 2
    dragging = ["drag", "1", "--from", "3,3", "--to", "4,3", "--pixels", "face", "--num-steps", 1, "--level", 4]
    dragged = run(*dragging, "--network", "classes.safetensors", "--class", 2, "--outdir", "dragged")
    assert dragged.exit_code == 0, dragged.output
    before = Inversion.load("dragged/1/edited.safetensors").unedited()
    torch.testing.assert_close(before.ws, seed_inversion(network, 1, c=2).ws)
    morphing = ["morph", "1", "2", "--frames", 2, "--network", "classes.safetensors", "--class", 1]
    for space in ("w", "z"):
        assert run(*morphing, "--space", space, "--out", f"{space}.gif").exit_code == 0
    finding = ["directions", "ganspace", "--count", 1, "--samples", 100, "--network", "classes.safetensors"]
    assert run(*finding, "--class", 1, "--outdir", "one").exit_code == 0
    assert run(*finding, "--outdir", "all").exit_code == 0
    one, every = (Direction.load(f"{name}/ganspace_0.safetensors").vector for name in ("one", "all"))
    assert not torch.allclose(one, every)


@pytest.mark.parametrize("name", ["note.txt", "report.json", "raw.CR2", "page.html"])
def test_a_file_that_is_no_face_is_not_called_damaged(name, tmp_path):
    (tmp_path / name).write_text('{"photo": "me.jpg"}')
    with pytest.raises(CheckpointError, match=r"is no face that can be read; expected .* a photo \(.*\.jpg") as error:
        find_faces([str(tmp_path / name)])
    assert "download" not in str(error.value)


def test_an_empty_text_is_not_the_current_folder():
    for ask in (lambda: find_faces([""]), lambda: open_face(""), lambda: invert(""), lambda: open_network("")):
        with pytest.raises(UsageError, match="came as an empty text"):
            ask()
