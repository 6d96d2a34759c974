"""What `python -m stylegan train` answers where options contradict each other, or files are not its own."""

from __future__ import annotations

import json
import math

import pytest
from PIL import Image
from test_train_command import TINY, good, refused

from relatent.core.errors import CheckpointError
from stylegan.training import processes
from stylegan.training.recipe_file import FORMAT
from stylegan.training.settings import TrainingSettings

SHORT = [*TINY, "--kimg", 0.004, "--no-video"]


def settings_of(output):
    return json.loads(output[output.index("{") :])


@pytest.fixture
def recipe(tmp_path):
    def write(**options):
        path = tmp_path / "recipe.json"
        path.write_text(json.dumps({"format": FORMAT, "options": options, "found": {}}))
        return path

    return write


@pytest.fixture
def state(picture_folder, tmp_path):
    good("--data", picture_folder, "--outdir", tmp_path / "base", *SHORT)
    return tmp_path / "base" / "training-state.safetensors"


@pytest.mark.parametrize("name", ["log.jsonl", "network-000000.safetensors", "samples-000003.png"])
def test_files_of_somebody_else_are_not_replaced(name, picture_folder, tmp_path):
    (tmp_path / "run").mkdir()
    theirs = tmp_path / "run" / name
    theirs.write_text("precious")
    refused(2, "--data", picture_folder, "--outdir", tmp_path / "run", *SHORT, words=[name])
    assert theirs.read_text() == "precious"
    assert list((tmp_path / "run").iterdir()) == [theirs]


def test_settings_that_are_no_object(picture_folder, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "settings.json").write_text('"abc"')
    refused(2, "--data", picture_folder, "--outdir", tmp_path / "run", *SHORT, words=["settings.json"])
    with pytest.raises(CheckpointError, match="expected an object"):
        TrainingSettings.from_json('"abc"', tmp_path)


def test_a_new_folder_of_the_same_data(tmp_path):
    data, run = tmp_path / "pictures", tmp_path / "run"
    for name in ("a", "b"):
        (data / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (8, 8), (number * 9, 0, 0)).save(data / name / f"{number}.png")
    good("--data", data, "--data-folder", "a", "--outdir", run, *SHORT)
    output = good("--outdir", run, "--resume", "--data-folder", "b", "--dry-run", "--device", "cpu")
    assert settings_of(output)["data_folder"] == "b"
    output = good("--outdir", run, "--resume", "--data-folder", "", "--dry-run", "--device", "cpu")
    assert settings_of(output)["data_folder"] is None
    refused(1, "--outdir", run, "--resume", "--data-folder", "nowhere", *SHORT, "--kimg", 0.008, words=["nowhere"])


@pytest.mark.parametrize("more", [[], ["--progressive", "--resolution", 16]])
def test_what_has_not_learned_cannot_be_frozen(more, picture_folder, tmp_path):
    refused(
        2, "--data", picture_folder, "--outdir", tmp_path / "run", *SHORT, "--freeze-d", 1, *more, words=["--resume"]
    )


def test_nor_can_grown_blocks(state, tmp_path):
    line = ["--outdir", tmp_path / "run", "--grow-from", state, "--freeze-d", 1, "--device", "cpu"]
    refused(2, *line, words=["--freeze-d"])
    output = good("--outdir", tmp_path / "run", "--resume", state, "--freeze-d", 1, "--dry-run", "--device", "cpu")
    assert settings_of(output)["freeze_d"] == 1


def test_a_recipe_changes_what_may_change_in_a_resumed_run(state, recipe, tmp_path):
    file = recipe(batch=2, lr=0.001, resolution="32")
    line = ["--outdir", tmp_path / "run", "--recipe", file, "--dry-run", "--device", "cpu"]
    for begin in (["--resume", state], ["--grow-from", state]):
        found = settings_of(good(*line, *begin))
        assert (found["batch"], found["learning_rate"]) == (2, 0.001)
    assert settings_of(good(*line, "--resume", state, "--lr", 0.002))["learning_rate"] == 0.002


def test_a_recipe_gives_a_transfer_its_resolution(state, recipe, picture_folder, tmp_path):
    file = recipe(resolution="16", lr=0.001)
    network = next(state.parent.glob("network-*.safetensors"))
    line = ["--data", picture_folder, "--outdir", tmp_path / "run", "--resume", network, "--recipe", file, "--dry-run"]
    found = settings_of(good(*line))
    assert (found["generator"]["resolution"], found["learning_rate"]) == (16, 0.001)
    refused(2, *line, "--grow-from", state, words=["--grow-from", "--resume"])


def test_a_transfer_from_a_fully_connected_network_has_its_defaults(tmp_path):
    line = ["--data", "digits", "--arch", "mlp", "--resolution", 16, "--device", "cpu", "--no-video"]
    good(*line, "--outdir", tmp_path / "first", "--kimg", 0.002, "--batch", 2)
    network = next((tmp_path / "first").glob("network-*.safetensors"))
    fresh = settings_of(good(*line, "--outdir", tmp_path / "x", "--dry-run"))
    moved = settings_of(good("--data", "digits", "--outdir", tmp_path / "x", "--resume", network, "--dry-run"))
    for name in ("batch", "learning_rate", "ema_kimg", "augment_strength", "loss_weights"):
        assert moved[name] == fresh[name], name


def test_fully_connected_networks_have_no_path_length(picture_folder, tmp_path):
    line = ["--data", picture_folder, "--outdir", tmp_path / "run", "--arch", "mlp", "--resolution", 16]
    refused(2, *line, "--path-length", 2, "--device", "cpu", words=["--path-length"])


@pytest.mark.parametrize("name", ["arch", "batch", "flip", "compile", "start_resolution", "minutes"])
def test_recipes_without_a_value(name, recipe, picture_folder, tmp_path):
    file = recipe(**{name: math.nan if name == "minutes" else None})
    line = ["--data", picture_folder, "--outdir", tmp_path / "run", "--dry-run", *TINY, "--recipe", file]
    refused(2, *line, words=["recipe.json", name])


def test_a_recipe_may_say_that_a_default_is_computed(recipe, picture_folder, tmp_path):
    file = recipe(gamma=None, ema_kimg=None)
    line = ["--data", picture_folder, "--outdir", tmp_path / "run", "--dry-run", *TINY]
    assert settings_of(good(*line, "--recipe", file)) == settings_of(good(*line))


@pytest.mark.parametrize("flag", ["--outdir", "--data", "--resume", "--grow-from", "--recipe"])
def test_names_that_are_too_long(flag, picture_folder, tmp_path):
    line = {"--data": picture_folder, "--outdir": tmp_path / "run", flag: tmp_path / ("x" * 300)}
    refused(2, *(part for pair in line.items() for part in pair), words=["xxx"])


def test_an_environment_of_half_a_torchrun(monkeypatch, picture_folder, tmp_path):
    line = ["--data", picture_folder, "--outdir", tmp_path / "run", "--dry-run", *TINY]
    monkeypatch.setenv("WORLD_SIZE", "2")  # some clusters set it for other reasons
    good(*line)
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "abc")):
        monkeypatch.setenv(name, value)
        refused(2, *line, words=["torchrun"])
    assert processes.count() == 1


def test_no_board_of_a_run_that_cannot_start(tmp_path):
    pytest.importorskip("tensorboard")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "0.png").write_bytes(b"no picture")
    line = ["--data", tmp_path / "pictures", "--outdir", tmp_path / "run", *SHORT, "--batch", 1]
    refused(1, *line, "--tensorboard")
    assert not (tmp_path / "run").exists()
