"""`python -m stylegan train`: what it writes, how it goes on, and what it answers to mistakes."""

from __future__ import annotations

import json
import shlex
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file
from spoiling import header_of

from relatent.core.errors import DatasetError, UsageError
from stylegan import load
from stylegan.__main__ import main
from stylegan.training import run
from stylegan.training.loop import Schedule
from stylegan.training.run import train
from stylegan.training.state import read_settings
from stylegan.training.trainer import Trainer

TINY = shlex.split(
    "--resolution 8 --z-dim 8 --w-dim 12 --mapping-layers 2 --channel-base 64 --channel-max 8 --batch 4 "
    "--tick 0.012 --snap 2 --device cpu"
)
CLOCK = {"seconds", "seconds_per_kimg", "memory_mb"}
LOG_KEYS = {"kimg", "loss_g", "loss_d", "r1", "real_accuracy", "fake_accuracy", *CLOCK}
LOG_KEYS |= {"pairwise_real", "pairwise_fake", "augment", "path_length"}


def command(*args):
    """Exit code and output of the command in this process; any exception but an exit is a failure."""
    result = CliRunner().invoke(main, ["train", *map(str, args)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def good(*args):
    code, output = command(*args)
    assert code == 0, output
    return output


def refused(code, *args, words=()):
    found, output = command(*args)
    assert found == code, output
    assert "Traceback" not in output
    error = [line for line in output.splitlines() if line.lower().startswith("error:")]
    assert len(error) == 1, output
    for word in words:
        assert word in output
    return error[0]


def log_of(outdir, without=frozenset()):
    lines = (outdir / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in without} for line in lines]


def equal_tensors(first, second):
    first, second = load_file(first), load_file(second)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class TestWhatItWrites:
    def test_everything(self, picture_folder, tmp_path):
        out = tmp_path / "run"
        output = good("--data", picture_folder, "--outdir", out, "--kimg", 0.04, "--name", "new", *TINY)
        assert sorted(file.name for file in out.iterdir()) == [
            "index.html",
            "interpolation.mp4",
            "log.jsonl",
            "network-000000.safetensors",
            "samples-000000.png",
            "settings.json",
            "training-state.safetensors",
        ]
        assert f"network: {out / 'network-000000.safetensors'}" in output
        log = log_of(out)
        assert [line["kimg"] for line in log] == [0.012, 0.024, 0.036, 0.04]
        assert all(line.keys() == LOG_KEYS for line in log)
        with Image.open(out / "samples-000000.png") as samples:
            assert (samples.size, samples.mode) == ((12 * 8, 8 * 8), "RGB")
        settings = json.loads((out / "settings.json").read_text())
        assert settings == json.loads(read_settings(out / "training-state.safetensors").to_json())
        assert (settings["batch"], settings["loss_weights"]["r1_gamma"]) == (4, 0.0002 * 64 / 4)

    def test_network(self, picture_folder, tmp_path):
        args = shlex.split("--name new --alignment 0.62 0.08 --licence 'CC BY' --attribution Somebody --kimg 0.012")
        good("--data", picture_folder, "--outdir", tmp_path / "run", *args, *TINY)
        path = tmp_path / "run" / "network-000000.safetensors"
        generator = load(path)
        assert generator(torch.randn(1, 8)).shape == (1, 3, 8, 8)
        assert (generator.name, generator.resolution, generator.num_ws) == ("new", 8, 4)
        assert (generator.alignment.scale, generator.alignment.shift) == (0.62, 0.08)
        header = header_of(path)
        assert (header["licence"], header["attribution"]) == ("CC BY", "Somebody")
        assert "12 pictures" in header["origin"]
        w = generator.mapping.map(torch.randn(10_000, 8, generator=torch.Generator().manual_seed(123)))
        assert torch.allclose(generator.w_avg, w.mean(dim=0), atol=1e-6)
        state = load_file(tmp_path / "run" / "training-state.safetensors")
        for name, tensor in generator.state_dict().items():
            assert torch.equal(tensor, state[f"average.{name}"]), name
        moved = "synthesis.blocks.8.conv1.weight"
        assert not torch.equal(state[f"average.{moved}"], state[f"generator.{moved}"])
        noise = "synthesis.blocks.8.conv1.noise_const"
        assert torch.equal(state[f"average.{noise}"], state[f"generator.{noise}"])

    def test_samples_are_those_of_the_network(self, picture_folder, tmp_path):
        good("--data", picture_folder, "--outdir", tmp_path, "--kimg", 0.012, *TINY)
        generator = load(tmp_path / "network-000000.safetensors")
        z = torch.randn(96, 8, generator=torch.Generator().manual_seed(1000))
        expected = ((generator(z) + 1) * 127.5).round().clamp(0, 255)[13]
        with Image.open(tmp_path / "samples-000000.png") as samples:
            found = np.asarray(samples)[8:16, 8:16]  # second row, second column
        assert np.abs(found.astype(int) - expected.permute(1, 2, 0).numpy()).max() <= 1

    def test_at_intervals_and_at_the_end(self, tiny_settings, picture_folder, tmp_path, monkeypatch):
        settings, seen = tiny_settings(data=str(picture_folder), batch=20), []
        original = run.write_snapshot
        monkeypatch.setattr(run, "write_snapshot", lambda t, out: seen.append(t.images_seen) or original(t, out))
        schedule = Schedule(kimg=0.18, tick_kimg=0.04, snapshot_ticks=2)
        last = train(settings, tmp_path, schedule, device=torch.device("cpu"))
        assert seen == [80, 160, 180]
        assert last == tmp_path / "network-000000.safetensors"

    def test_names_tell_thousands_of_pictures(self, tiny_trainer, tmp_path):
        trainer = tiny_trainer()
        trainer.images_seen = 64_000
        assert run.write_snapshot(trainer, tmp_path).name == "network-000064.safetensors"

    @pytest.mark.parametrize("kimg", [0, 0.0001])
    def test_however_short(self, picture_folder, tmp_path, kimg):
        good("--data", picture_folder, "--outdir", tmp_path / "run", "--kimg", kimg, *TINY)
        assert {file.suffix for file in (tmp_path / "run").iterdir()} >= {".safetensors", ".png", ".json", ".jsonl"}

    def test_until_the_time_is_up(self, picture_folder, tmp_path):
        args = ("--data", picture_folder, "--outdir", tmp_path, "--kimg", 100, *TINY)
        good(*args, "--minutes", 1e-6)  # over before the first step, which is taken nevertheless
        assert [line["kimg"] for line in log_of(tmp_path)] == [0.004]
        assert load(tmp_path / "network-000000.safetensors")(torch.randn(1, 8)).isfinite().all()
        good("--outdir", tmp_path, "--resume", "--kimg", 100, "--minutes", 1e-6, "--device", "cpu")
        lines = log_of(tmp_path)
        assert [line["kimg"] for line in lines] == [0.004, 0.008]
        assert all(line["pairwise_fake"] > 0 for line in lines)  # a tick cut short reports as any other

    def test_time_that_is_not_up(self, picture_folder, tmp_path):
        good("--data", picture_folder, "--outdir", tmp_path, "--kimg", 0.02, "--minutes", 1000, *TINY)
        assert log_of(tmp_path)[-1]["kimg"] == 0.02

    def test_zip_and_data_folder(self, picture_folder, tmp_path):
        archive = shutil.make_archive(str(tmp_path / "data"), "zip", picture_folder)
        good("--data", archive, "--data_folder", "01", "--outdir", tmp_path / "run", "--kimg", 0.004, *TINY)
        assert json.loads((tmp_path / "run" / "settings.json").read_text())["data_folder"] == "01"

    def test_classes(self, picture_folder, tmp_path):
        good("--data", picture_folder, "--outdir", tmp_path / "run", "--kimg", 0.012, "--cond", *TINY)
        generator = load(tmp_path / "run" / "network-000000.safetensors")
        assert generator.c_dim == 3
        assert generator(torch.randn(3, 8), torch.eye(3)).shape == (3, 3, 8, 8)

    @pytest.mark.parametrize("args", ["--style-method adain", "--precision bfloat16 --augment 1 --no-flip"])
    def test_variants(self, picture_folder, tmp_path, args):
        good("--data", picture_folder, "--outdir", tmp_path, "--kimg", 0.012, *args.split(), *TINY)
        assert load(tmp_path / "network-000000.safetensors")(torch.randn(1, 8)).isfinite().all()


class TestDryRun:
    def test_prints_the_settings_and_writes_nothing(self, picture_folder, tmp_path):
        output = good("--data", picture_folder, "--outdir", tmp_path / "run", "--dry-run", "--seed", 5, *TINY)
        settings = json.loads(output)
        assert (settings["seed"], settings["generator"]["resolution"], settings["ema_kimg"]) == (5, 8, 1.25)
        assert not (tmp_path / "run").exists()

    def test_underscores(self, picture_folder, tmp_path):
        args = ["--channel_base=64", "--mapping_layers", "3", "--no_flip", "--dry_run", "--style_method=adain"]
        settings = json.loads(good("--data", picture_folder, "--outdir", tmp_path / "run", *args))
        assert settings["generator"]["channel_base"] == settings["discriminator"]["channel_base"] == 64
        assert settings["generator"]["mapping_layers"] == 3
        assert settings["generator"]["style_method"] == "adain"
        assert settings["flip"] is False

    def test_of_a_resume_shows_the_old_settings(self, picture_folder, tmp_path):
        good("--data", picture_folder, "--outdir", tmp_path / "run", "--kimg", 0.004, "--seed", 9, *TINY)
        before = {file: file.read_bytes() for file in (tmp_path / "run").iterdir()}
        settings = json.loads(good("--outdir", tmp_path / "run", "--resume", "--dry-run", "--device", "cpu"))
        assert settings["seed"] == 9
        assert before == {file: file.read_bytes() for file in (tmp_path / "run").iterdir()}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A folder with a run of 12 steps, `unbroken`, and the same one `killed` in its 9th, after a state at its 6th."""
    base = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    (base / "pictures").mkdir()
    for index in range(10):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(base / "pictures" / f"{index}.png")
    good("--data", base / "pictures", "--outdir", base / "unbroken", "--kimg", 0.048, *TINY)
    good("--data", base / "pictures", "--outdir", base / "killed", "--kimg", 0.024, *TINY)
    log = (base / "unbroken" / "log.jsonl").read_text().splitlines(keepends=True)
    with (base / "killed" / "log.jsonl").open("a") as file:
        file.write(log[2] + log[3][:20])  # lines written after the last state, the last one cut short
    return base


class TestResume:
    def test_bit_for_bit(self, unbroken, tmp_path):
        out = shutil.copytree(unbroken / "killed", tmp_path / "killed")
        good("--outdir", out, "--resume", "--kimg", 0.048, "--tick", 0.012, "--snap", 2, "--device", "cpu")
        for name in ("network-000000", "training-state"):
            assert equal_tensors(out / f"{name}.safetensors", unbroken / "unbroken" / f"{name}.safetensors")
        assert (out / "samples-000000.png").read_bytes() == (unbroken / "unbroken" / "samples-000000.png").read_bytes()
        assert log_of(out, without=CLOCK) == log_of(unbroken / "unbroken", without=CLOCK)

    def test_into_another_folder(self, unbroken, tmp_path):
        state = unbroken / "killed" / "training-state.safetensors"
        before = state.read_bytes()
        good("--outdir", tmp_path / "new", "--resume", state, "--kimg", 0.048, *TINY)
        name = "network-000000.safetensors"
        assert equal_tensors(tmp_path / "new" / name, unbroken / "unbroken" / name)
        assert log_of(tmp_path / "new", without=CLOCK) == log_of(unbroken / "unbroken", without=CLOCK)[2:]
        assert state.read_bytes() == before

    def test_own_state_may_be_named(self, unbroken, tmp_path):
        out = shutil.copytree(unbroken / "killed", tmp_path / "killed")
        good("--outdir", out, "--resume", out / "training-state.safetensors", "--kimg", 0.036, *TINY)
        assert [line["kimg"] for line in log_of(out)] == [0.012, 0.024, 0.036]

    def test_with_data_that_moved(self, unbroken, tmp_path):
        out = shutil.copytree(unbroken / "killed", tmp_path / "killed")
        data = shutil.copytree(unbroken / "pictures", tmp_path / "moved")
        good("--outdir", out, "--resume", "--data", data, "--kimg", 0.048, *TINY)
        assert json.loads((out / "settings.json").read_text())["data"] == str(data)
        name = "network-000000.safetensors"
        assert equal_tensors(out / name, unbroken / "unbroken" / name)

    def test_only_what_may_change_changes(self, unbroken):
        args = ["--resume", "--kimg", "0.04", "--augment", "0.05", "--lr", "0.001", "--gamma", "3", "--seed", "2"]
        args += ["--precision", "bfloat16", "--compile"]
        before = json.loads((unbroken / "unbroken" / "settings.json").read_text())
        result = CliRunner().invoke(main, ["train", "--outdir", str(unbroken / "unbroken"), *args, "--dry-run"])
        now = json.loads(result.output)
        changes = {"augment_strength": 0.05, "learning_rate": 0.001, "precision": "bfloat16", "compile": True}
        changes |= {"loss_weights": {**before["loss_weights"], "r1_gamma": 3}}
        assert now == {**before, **changes}

    @pytest.mark.parametrize("typed", [[], pytest.param(["--gamma", "3", "--ema-kimg", "2"], marks=pytest.mark.slow)])
    def test_with_another_batch(self, unbroken, tmp_path, typed):
        out = shutil.copytree(unbroken / "killed", tmp_path / "killed")
        before = json.loads((out / "settings.json").read_text())
        good("--outdir", out, "--resume", "--kimg", 0.04, "--tick", 0.008, "--batch", 8, *typed, "--device", "cpu")
        now = json.loads((out / "settings.json").read_text())
        gamma, ema = (3, 2) if typed else (before["loss_weights"]["r1_gamma"] / 2, before["ema_kimg"] * 2)
        assert now == {
            **before,
            "batch": 8,
            "ema_kimg": ema,
            "loss_weights": {**before["loss_weights"], "r1_gamma": gamma},
        }
        # the pictures count on, whatever the batch: 24 in fours, then eights
        assert [line["kimg"] for line in log_of(out)] == [0.012, 0.024, 0.032, 0.04]
        header = header_of(out / "training-state.safetensors")
        assert (header["step"], header["images_seen"]) == ("8", "40")
        good("--outdir", out, "--resume", "--kimg", 0.048, "--batch", 8, "--device", "cpu")
        again = json.loads((out / "settings.json").read_text())
        assert again == now  # the rules are applied to a change alone

    @pytest.mark.slow
    def test_of_a_finished_run_writes_its_results_again(self, unbroken, tmp_path):
        out = shutil.copytree(unbroken / "unbroken", tmp_path / "done")
        expected = (out / "samples-000000.png").read_bytes()
        (out / "samples-000000.png").unlink()
        good("--outdir", out, "--resume", "--kimg", 0.048, *TINY)
        assert (out / "samples-000000.png").read_bytes() == expected
        assert len(log_of(out)) == 4

    def test_new_run_does_not_go_on_with_an_old_log(self, picture_folder, tmp_path):
        args = ("--data", picture_folder, "--outdir", tmp_path, "--kimg", 0.012, "--no-video", *TINY)
        good(*args)
        (tmp_path / "training-state.safetensors").unlink()
        good(*args)
        assert len(log_of(tmp_path)) == 1

    def test_existing_run_is_not_overwritten(self, unbroken):
        args = ("--data", unbroken / "pictures", "--outdir", unbroken / "killed", *TINY)
        refused(2, *args, words=["already holds a run", "--resume", "--outdir"])
        refused(2, *args, "--resume", unbroken / "unbroken" / "training-state.safetensors", words=["already holds"])

    def test_nothing_to_resume(self, tmp_path):
        refused(2, "--outdir", tmp_path / "no", "--resume", *TINY, words=["no run to go on with"])
        refused(1, "--outdir", tmp_path / "no", "--resume", tmp_path / "no.safetensors", *TINY, words=["not exist"])
        (tmp_path / "text").write_text("no state")
        refused(1, "--outdir", tmp_path / "no", "--resume", tmp_path / "text", *TINY, words=["not a network file"])
        assert not (tmp_path / "no").exists()


class TestMistakes:
    def test_no_data(self, tmp_path):
        refused(2, "--outdir", tmp_path / "run", *TINY, words=["--data is missing"])

    def test_no_outdir(self, picture_folder):
        refused(2, "--data", picture_folder, *TINY, words=["--outdir"])

    @pytest.mark.parametrize("args", [(), ("--cond",)])
    def test_missing_file_leaves_no_folder(self, tmp_path, args):
        refused(1, "--data", tmp_path / "no.zip", "--outdir", tmp_path / "run", *args, *TINY, words=["does not exist"])
        assert not (tmp_path / "run").exists()

    def test_damaged_picture_leaves_no_folder(self, picture_folder, tmp_path):
        (picture_folder / "00" / "000.png").write_bytes(b"no picture")
        refused(1, "--data", picture_folder, "--outdir", tmp_path / "run", *TINY, words=["000.png"])
        assert not (tmp_path / "run").exists()

    def test_folder_of_the_user_stays(self, tmp_path):
        (tmp_path / "run").mkdir()
        refused(1, "--data", tmp_path / "no.zip", "--outdir", tmp_path / "run", *TINY)
        assert (tmp_path / "run").exists()

    def test_no_pictures(self, tmp_path):
        refused(1, "--data", tmp_path, "--outdir", tmp_path / "run", *TINY, words=["holds no pictures"])

    def test_fewer_pictures_than_a_batch(self, picture_folder, tmp_path):
        args = ("--data", picture_folder, "--outdir", tmp_path / "run", *TINY, "--batch", 41)
        refused(1, *args, words=["holds 40 pictures", "smaller batch"])

    def test_no_classes(self, picture_folder, tmp_path):
        flat = picture_folder / "00"  # its pictures lie in no folders
        refused(2, "--data", flat, "--outdir", tmp_path / "run", "--cond", *TINY, words=["dataset.json"])

    def test_too_many_classes_on_resume(self, picture_folder, tmp_path, tiny_settings):
        settings = tiny_settings(data=str(picture_folder), c_dim=2)
        with pytest.raises(DatasetError, match="names 3 classes and the network has 2"):
            train(settings, tmp_path / "run", Schedule(kimg=1), device=torch.device("cpu"))

    @pytest.mark.parametrize("device", ["gpu", "cuda:99", "xla", "tpu:0", ""])
    def test_unknown_device(self, picture_folder, tmp_path, device):
        args = ("--data", picture_folder, "--outdir", tmp_path / "run", *TINY, "--device", device)
        refused(2, *args, words=["device"])

    @pytest.mark.parametrize(
        "args",
        [
            "--resolution 100",
            "--resolution 4",
            "--batch 0",
            "--batch many",
            "--kimg -1",
            "--kimg nan",
            "--kimg inf",
            "--tick 0",
            "--tick nan",
            "--snap 0",
            "--lr 0",
            "--lr nan",
            "--lr inf",
            "--gamma -1",
            "--gamma nan",
            "--augment 2",
            "--augment nan",
            "--mixing-prob nan",
            "--ema-kimg inf",
            "--z-dim 0",
            "--w-dim 99999",
            "--mapping-layers 65",
            "--channel-max 0",
            "--conv-clamp inf",
            "--alignment nan 0",
            "--alignment 0 0",
            "--precision float64",
            "--style-method sgd",
            "--seed 1.5",
            "--seed 99999999999999999999",
            "--unknown",
        ],
    )
    def test_bad_values(self, picture_folder, tmp_path, args):
        refused(2, "--data", picture_folder, "--outdir", tmp_path / "run", *TINY, *args.split())
        assert not (tmp_path / "run").exists()

    def test_unwritable_outdir(self, picture_folder, tmp_path):
        (tmp_path / "file").touch()
        args = ("--data", picture_folder, "--outdir", tmp_path / "file" / "run", *TINY)
        refused(1, *args, words=["cannot write", "another folder"])

    def test_divergence_stops_before_the_good_state_is_spoilt(self, picture_folder, tmp_path, monkeypatch):
        good("--data", picture_folder, "--outdir", tmp_path, "--kimg", 0.024, *TINY)
        before = (tmp_path / "training-state.safetensors").read_bytes()
        original = Trainer.train_step

        def diverge(trainer, **options):
            trainer.generator.mapping.layers[0].bias.data.fill_(torch.nan)
            original(trainer, **options)

        monkeypatch.setattr(Trainer, "train_step", diverge)
        error = refused(1, "--outdir", tmp_path, "--resume", "--kimg", 1, *TINY)
        assert "diverged" in error
        assert "--lr" in error
        assert (tmp_path / "training-state.safetensors").read_bytes() == before
        assert len(log_of(tmp_path)) == 2

    def test_interrupt(self, picture_folder, tmp_path, monkeypatch):
        def interrupt(_trainer, **_options):
            raise KeyboardInterrupt

        monkeypatch.setattr(Trainer, "train_step", interrupt)
        code, output = command("--data", picture_folder, "--outdir", tmp_path / "run", "--kimg", 1, *TINY)
        assert code == 130
        assert "Traceback" not in output

    @pytest.mark.parametrize("field", ["kimg", "tick_kimg", "snapshot_ticks"])
    def test_impossible_schedule(self, field):
        with pytest.raises(UsageError, match=field):
            Schedule(**{"kimg": 1.0, field: float("nan")})


def test_help():
    result = CliRunner().invoke(main, ["train", "--help"])
    assert result.exit_code == 0
    assert "--data FILE_OR_FOLDER" in result.output
    assert CliRunner().invoke(main, ["--help"]).exit_code == 0
