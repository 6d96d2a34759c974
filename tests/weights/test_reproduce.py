"""Recipes of the embedded files: printed in full, and carried out at a tiny size."""

import dataclasses
import io
import json
import math
import zipfile

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import editing.__main__
from editing.directions import disentangling, effects
from inversion.encoders.loading import load_encoder
from inversion.optim.preconditioner_file import read_preconditioner
from relatent.core.errors import DatasetError, RelatentError, UnknownNameError, UsageError
from stylegan import load, network_id
from stylegan.networks.backbone import Backbone
from weights.__main__ import main
from weights.embedded import network_path
from weights.reproduce import Needed, carry_out, check, describe, read_recipe, recipe_names

TINY = "kimg_first=0.008 kimg_second=0.016 kimg_third=0.024 kimg_64=0.032 kimg_fade=0.008 kimg_grown=0.008"
TINY += " kimg_judged=0.016 kimg_slower=0.024 kimg_float=0.032 kimg=0.04 z_dim=8 w_dim=8 channel_base=64 channel_max=4"
TINY += " batch=4 tick=0.008 encoder_64_kimg=0.004 encoder_kimg=0.004 encoder_second_kimg=0.004"
TINY += " preconditioner_pictures=4 preconditioner_rank=8 measured=2"


def run(*args):
    return CliRunner().invoke(main, ["reproduce", *map(str, args)])


@pytest.fixture
def faces(tmp_path):
    """A zip of random pictures, laid out as the real one."""
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for folder, count in (("train", 8), ("val", 4)):
            for index in range(count):
                buffer = io.BytesIO()
                pixels = torch.randint(0, 256, (128, 128, 3), dtype=torch.uint8).numpy()
                Image.fromarray(pixels).save(buffer, "PNG")
                archive.writestr(f"{folder}/{index}.png", buffer.getvalue())
    return path


def test_every_embedded_file_has_a_recipe():
    assert recipe_names() == ["faces-128", "faces-backbone"]


@pytest.mark.parametrize("name", ["faces-128", "faces-backbone"])
def test_dry_run_prints_commands_checks_and_hours(name, faces, tmp_path):
    result = run(name, "--dry-run", "--data", f"faces={faces}", "--outdir", tmp_path / "out")
    assert result.exit_code == 0, result.output
    recipe = read_recipe(name)
    for step in recipe.work({"faces": faces}, tmp_path / "out", {}):
        assert step.line() in result.output
    assert f"{sum(step['hours'] for step in recipe.steps):g} hours in all" in result.output
    assert recipe.data["faces"].sha256 in result.output
    assert "is another file" in result.output
    assert not (tmp_path / "out").exists()


def test_training_writes_the_networks_that_the_recipe_expects(tmp_path):
    """A run ends with a whole batch, and names its network by the images seen."""
    recipe = read_recipe("faces-128")
    batch = recipe.sizes["batch"]
    trainings = [step for step in recipe.work({}, tmp_path, {}) if step.command[1:3] == ("stylegan", "train")]
    assert len(trainings) == 9
    for step in trainings:
        kimg = float(step.command[step.command.index("--kimg") + 1])
        assert step.makes.name == f"network-{math.ceil(kimg * 1000 / batch) * batch / 1000:06.0f}.safetensors"


def test_dry_run_asks_for_what_was_not_named():
    assert "give it with --data faces=FILE" in run("faces-128", "--dry-run").output


@pytest.mark.slow
def test_faces_128_at_a_tiny_size(faces, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    sizes = [word for pair in TINY.split() for word in ("--set", pair)]
    args = ["faces-128", "--data", f"faces={faces}", "--other-data", "--outdir", tmp_path / "out", *sizes]
    result = run(*args)
    assert result.exit_code == 0, result.output
    network = load(tmp_path / "out" / "generator.safetensors")
    assert (network.name, network.resolution, network.w_dim) == ("faces-128", 128, 8)
    encoder = load_encoder(tmp_path / "out" / "encoder.safetensors")
    assert encoder.network == network_id(network)
    preconditioner = read_preconditioner(tmp_path / "out" / "preconditioner.safetensors")
    assert preconditioner.network == network_id(network)
    percentiles = json.loads((tmp_path / "out" / "percentiles.json").read_text())
    assert percentiles["network"] == network_id(network)
    assert percentiles["presets"]["balanced"]["faces"] == 2
    again = run(*args)
    assert again.output.count("done before") == 15


@pytest.mark.slow
def test_faces_128_directions_of_few_samples(tmp_path, monkeypatch):
    """The one step that a trial leaves out needs faces to look at: those of the network that ships."""
    monkeypatch.setattr(disentangling, "STEP_PROBES", 2)
    for module in (disentangling, effects):
        monkeypatch.setattr(module, "SCALE_PROBES", 4)
    recipe = read_recipe("faces-128")
    few = dataclasses.replace(recipe, sizes={**recipe.sizes, "samples": 150})
    (learning,) = (
        step for step in few.work({}, tmp_path, {}) if step not in recipe.work({}, tmp_path, {"samples": 150})
    )
    (tmp_path / "generator.safetensors").write_bytes(network_path("faces-128").read_bytes())
    assert learning.command[:2] == ("-m", "editing")
    result = CliRunner().invoke(editing.__main__.main, learning.command[2:])
    assert result.exit_code == 0, result.output
    assert learning.makes.is_file()
    learnt = {file.name for file in learning.makes.parent.glob("*.safetensors")}
    ship = {file.name for file in network_path("faces-128").parent.glob("directions/*.safetensors")}
    assert learnt - ship == {"glasses.safetensors", "beard.safetensors", "fringe.safetensors"}  # see the network's card
    assert ship <= learnt


@pytest.mark.slow
def test_faces_backbone_at_a_tiny_size(faces, tmp_path, monkeypatch):
    from safetensors.torch import save_file

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    save_file(Backbone().state_dict(), tmp_path / "teacher.safetensors")
    args = ["--data", f"faces={faces}", "--data", f"teacher={tmp_path / 'teacher.safetensors'}", "--other-data"]
    result = run("faces-backbone", *args, "--outdir", tmp_path / "out", "--set", "kimg=0.004", "--set", "batch=2")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "backbone.safetensors").stat().st_size < 2e6


def test_other_data_are_refused(faces, tmp_path):
    result = run("faces-128", "--data", f"faces={faces}", "--outdir", tmp_path / "out")
    assert result.exit_code == 1
    assert "is another file" in result.output
    result = run("faces-128", "--data", "faces=nowhere.zip", "--other-data", "--outdir", tmp_path / "out")
    assert result.exit_code == 1
    assert "nowhere.zip does not exist" in result.output
    assert run("faces-128").exit_code == 2


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["faces-129"], "did you mean faces-128"),
        (["faces-128", "--data", "face=x"], "did you mean faces"),
        (["faces-128", "--data", "faces"], "expected a name, = and a value"),
        (["faces-128", "--set", "kimg=many"], "'many' is no number"),
        (["faces-128", "--set", "images=3"], "unknown name for --set"),
    ],
)
def test_what_cannot_be_meant(args, words):
    result = run(*args)
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output


class TestPieces:
    def test_check(self, tmp_path):
        (tmp_path / "a").write_bytes(b"abc")
        digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        needed = Needed("a", digest, "three letters")
        assert check(needed, tmp_path / "a") == "as it was"
        assert "is another file" in check(dataclasses.replace(needed, sha256="0" * 64), tmp_path / "a")

    def test_paths_with_spaces_stay_whole(self, tmp_path):
        work = read_recipe("faces-128").work({"faces": tmp_path / "my faces.zip"}, tmp_path / "my out", {})
        assert str(tmp_path / "my faces.zip") in work[0].command
        assert str(tmp_path / "my out" / "generator-64") in work[0].command
        assert "'" in work[0].line()

    def test_unknown_size(self, tmp_path):
        with pytest.raises(UnknownNameError, match="size"):
            read_recipe("faces-128").work({}, tmp_path, {"kimgs": 3})

    def test_a_failed_command_stops_and_the_next_try_goes_on(self, tmp_path):
        (first, *_) = read_recipe("faces-128").work({}, tmp_path, {})
        recipe = dataclasses.replace(read_recipe("faces-128"), data={})
        script = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(' '.join(sys.argv[2:])); sys.exit(3)"
        step = dataclasses.replace(
            first, command=("-c", script, str(tmp_path / "args")), makes=tmp_path / "made", resumes=tmp_path / "state"
        )
        said = []
        for expected in ("", "--resume"):
            with pytest.raises(RelatentError, match="exit code 3"):
                carry_out(recipe, [step], {}, tell=said.append, same_data=True)
            assert (tmp_path / "args").read_text() == expected
            (tmp_path / "state").write_text("")
        (tmp_path / "made").write_text("a snapshot")
        with pytest.raises(RelatentError, match="exit code 3"):
            carry_out(recipe, [step], {}, tell=said.append, same_data=True)
        ends = dataclasses.replace(
            step, command=(*step.command[:1], script.replace("exit(3)", "exit(0)"), *step.command[2:])
        )
        carry_out(recipe, [ends], {}, tell=said.append, same_data=True)
        assert not said[-1].startswith("done before")
        step = ends
        carry_out(recipe, [step], {}, tell=said.append, same_data=True)
        assert said[-1].startswith("done before")

    def test_a_command_that_is_not_here_is_told_before_anything_runs(self, tmp_path):
        (first, *_) = read_recipe("faces-128").work({}, tmp_path, {})
        recipe = dataclasses.replace(read_recipe("faces-128"), data={})
        here = dataclasses.replace(first, command=("-c", "raise SystemExit('ran')"))
        gone = dataclasses.replace(first, command=("-m", "no_such_house.percentiles"))
        with pytest.raises(UsageError, match=r"no_such_house.*clone"):
            carry_out(recipe, [here, gone], {}, tell=print, same_data=True)

    def test_refusals(self, tmp_path):
        recipe = read_recipe("faces-128")
        with pytest.raises(UsageError, match="--data faces=FILE"):
            carry_out(recipe, [], {}, tell=print, same_data=True)
        with pytest.raises(DatasetError, match="does not exist"):
            carry_out(recipe, [], {"faces": tmp_path / "no.zip"}, tell=print, same_data=False)
        assert "15.5 hours in all" in describe(recipe, recipe.work({}, tmp_path, {}), {})
