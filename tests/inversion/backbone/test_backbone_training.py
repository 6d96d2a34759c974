"""Two steps of backbone training write a backbone that loads; a resumed run goes on as the unbroken one."""

import dataclasses
import json
import zipfile

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from inversion.__main__ import main
from inversion.backbone import pictures as backbone_pictures
from inversion.backbone import run as training
from inversion.backbone import trainer as backbone_trainer
from inversion.backbone.muon import Optimizer
from inversion.backbone.pictures import degrade, random_crops
from inversion.backbone.run import train_backbone
from inversion.backbone.trainer import BackboneSettings, BackboneTrainer, feature_losses
from relatent.core.errors import CheckpointError, UsageError
from relatent.core.images import encode_png
from stylegan.networks.backbone import Backbone, load_backbone
from stylegan.training.loop import Schedule, state_path

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Eight random pictures and a random teacher."""
    folder = tmp_path_factory.mktemp("backbone")
    generator = torch.Generator().manual_seed(0)
    with zipfile.ZipFile(folder / "faces.zip", "w") as archive:
        for number in range(8):
            pixels = torch.randint(256, (32, 32, 3), generator=generator, dtype=torch.uint8).numpy()
            archive.writestr(f"train/{number}.png", encode_png(pixels))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(Backbone().state_dict(), folder / "teacher.safetensors")
    return BackboneSettings(
        data=str(folder / "faces.zip"), data_folder="train", teacher=str(folder / "teacher.safetensors"), batch=2
    )


@pytest.fixture
def small(monkeypatch):
    """Every step on two pictures of 64 px."""
    monkeypatch.setattr(backbone_trainer, "SIZES", (64,))


class TestTraining:
    def test_two_steps_write_a_backbone_a_state_and_a_log(self, settings, tmp_path, small):
        out = tmp_path / "run" / "backbone.safetensors"
        ticks = []
        assert train_backbone(settings, out, Schedule(0.004, tick_kimg=0.002), device=CPU, on_tick=ticks.append) == out
        assert load_backbone(out).name == "faces-backbone"
        assert out.stat().st_size < 2_000_000
        lines = [json.loads(line) for line in out.with_suffix(".log.jsonl").read_text().splitlines()]
        assert [line["kimg"] for line in lines] == [tick.kimg for tick in ticks] == [0.002, 0.004]
        assert all(0 < tick.loss < 4 for tick in ticks)
        assert sorted(p.name for p in out.parent.iterdir()) == sorted(
            ["backbone.safetensors", "backbone.state.safetensors", "backbone.log.jsonl"]
        )

    def test_resumed_run_equals_unbroken_run(self, settings, tmp_path, small):
        whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
        train_backbone(settings, whole, Schedule(0.006), device=CPU)
        images = training.ImageDataset(training.Path(settings.data), 128, "train").load()
        trainer = BackboneTrainer(settings, images, 0.006, CPU)
        trainer.run_tick(2)
        training.save_state(trainer, state_path(parts))
        train_backbone(settings, parts, Schedule(0.006), device=CPU, resume=True)
        ours, theirs = load_file(state_path(parts)), load_file(state_path(whole))
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            torch.testing.assert_close(tensor, theirs[name], atol=1e-5, rtol=1e-4)

    def test_a_finished_run_only_writes_its_backbone_again(self, settings, tmp_path, small):
        out = tmp_path / "backbone.safetensors"
        train_backbone(settings, out, Schedule(0.002), device=CPU)
        before = load_file(out)
        out.unlink()
        train_backbone(settings, out, Schedule(0.002), device=CPU, resume=True)
        assert all(torch.equal(tensor, before[name]) for name, tensor in load_file(out).items())

    def test_the_student_learns(self, settings, small, monkeypatch):
        """A few steps bring the first layer closer to the teacher's."""
        monkeypatch.setattr(backbone_trainer, "WARMUP_STEPS", 1)
        images = training.ImageDataset(training.Path(settings.data), 128, "train").load()
        eager = dataclasses.replace(settings, batch=8, learning_rate=0.05)
        trainer = BackboneTrainer(eager, images, 10, CPU)
        losses = torch.stack([trainer.train_step()[0] for _ in range(30)])[:, 0]
        assert float(losses[-5:].mean()) < 0.8 * float(losses[:5].mean()), losses

    def test_half_precision_trains(self, settings, small):
        images = torch.zeros(2, 3, 128, 128, dtype=torch.uint8)
        trainer = BackboneTrainer(dataclasses.replace(settings, precision="bfloat16"), images, 1, CPU)
        assert trainer.train_step().isfinite().all()
        assert all(p.dtype == torch.float32 for p in trainer.student.parameters())


class TestStates:
    @pytest.mark.parametrize("data", [b"", b"\xff" * 40])
    def test_damaged_states_are_refused(self, settings, tmp_path, data):
        state_path(tmp_path / "t.safetensors").write_bytes(data)
        with pytest.raises(CheckpointError):
            train_backbone(settings, tmp_path / "t.safetensors", Schedule(0.002), device=CPU, resume=True)

    def test_a_backbone_is_no_state(self, settings, tmp_path):
        save_file(
            Backbone().state_dict(), state_path(tmp_path / "t.safetensors"), metadata={"format": "relatent-trunk-1"}
        )
        with pytest.raises(CheckpointError, match="not the state of a backbone's training"):
            training.read_settings(state_path(tmp_path / "t.safetensors"))

    def test_states_without_moments_are_refused(self, settings, tmp_path, small):
        out = tmp_path / "t.safetensors"
        metadata = {"format": training.STATE_FORMAT, "settings": settings.to_json()}
        metadata |= {"step": "1", "images_seen": "2", "seconds": "0.5"}
        save_file({f"student/{n}": t for n, t in Backbone().state_dict().items()}, state_path(out), metadata=metadata)
        with pytest.raises(CheckpointError, match="moments"):
            train_backbone(settings, out, Schedule(0.002), device=CPU, resume=True)

    @pytest.mark.parametrize("text", ["", "[]", '{"surprise": 1}', '{"data": "x"}'])
    def test_foreign_settings_are_refused(self, tmp_path, text):
        with pytest.raises(CheckpointError):
            BackboneSettings.from_json(text, tmp_path)

    def test_unusable_settings_are_refused(self, settings):
        with pytest.raises(UsageError):
            dataclasses.replace(settings, precision="int8")
        with pytest.raises(UsageError):
            dataclasses.replace(settings, batch=0)


class TestPictures:
    def test_crops_and_changes_are_pictures(self):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            image = torch.rand(16, 3, 128, 128) * 2 - 1
            for size in backbone_trainer.SIZES:
                crops = random_crops(image, size)
                changed = degrade(crops.clone())
                assert crops.shape == changed.shape == (16, 3, size, size)
                assert crops.abs().max() <= 1
                assert changed.isfinite().all()
                assert changed.abs().max() < 6

    @pytest.mark.parametrize(
        "change", [change for change, _ in backbone_pictures.CHANGES], ids=lambda f: f.__name__.strip("_")
    )
    def test_each_change_changes(self, change):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            image = torch.rand(3, 3, 64, 64) * 2 - 1
            kept = image.clone()
            changed = change(image)
        assert changed.shape == image.shape
        assert changed.isfinite().all()
        assert not torch.equal(changed, image)
        assert torch.equal(image, kept)

    def test_blocks_keep_the_mean_of_a_flat_picture(self):
        with torch.random.fork_rng():
            torch.manual_seed(2)
            flat = torch.full((1, 3, 16, 16), 0.5)
            changed = backbone_pictures._blocks(flat)
        assert float((changed - changed.mean()).abs().max()) < 1e-5
        assert float(changed.mean()) == pytest.approx(0.5, abs=0.02)


class TestTapLosses:
    def test_equal_features_cost_nothing_and_opposite_directions_two(self):
        a = torch.zeros(1, 2, 4, 4)
        a[:, 0] = 3
        assert feature_losses(a, a).tolist() == pytest.approx([0, 0], abs=1e-6)
        assert feature_losses(a, a.flip(1)).tolist() == pytest.approx([2, 2])
        assert feature_losses(2 * a, a).tolist() == pytest.approx([0, 1], abs=1e-6)

    def test_dead_features_have_finite_gradients(self):
        ours = torch.zeros(1, 4, 2, 2, requires_grad=True)
        feature_losses(ours, torch.ones(1, 4, 2, 2)).sum().backward()
        assert ours.grad is not None
        assert ours.grad.isfinite().all()


class TestOptimizer:
    def student(self):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            student = Backbone().to(memory_format=torch.channels_last)
        generator = torch.Generator().manual_seed(1)
        for parameter in student.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        return student

    def test_steps_move_filters_by_matrices_with_singular_values_of_about_one(self):
        student = self.student()
        before = {name: p.detach().clone() for name, p in student.named_parameters() if p.ndim == 4}
        Optimizer(student).step(0.5)
        for name, filters in student.named_parameters():
            if filters.ndim == 4:
                values = torch.linalg.svdvals((filters.detach() - before[name]).flatten(1) / 0.5)
                scale = max(1.0, len(filters) / filters[0].numel()) ** 0.5
                assert values.min() > 0.4 * scale
                assert values.max() < 1.4 * scale

    def test_goes_on_from_its_momentum(self):
        whole, stopped = self.student(), self.student()
        first, second = Optimizer(whole), Optimizer(stopped)
        assert all(not momentum.any() for momentum in second.momentum.values())
        first.step(0.1)
        second.step(0.1)
        resumed = Optimizer(stopped)
        resumed.set_momentum({name: momentum.contiguous() for name, momentum in second.momentum.items()})
        first.step(0.1)
        resumed.step(0.1)
        for name, filters in first.filters.items():
            assert first.momentum[name].shape == filters.shape
            assert torch.equal(filters, resumed.filters[name])

    def test_an_older_pytorch_is_told_apart(self, monkeypatch):
        monkeypatch.delattr(torch.optim, "Muon")
        with pytest.raises(UsageError, match=r"needs 2\.9 or newer"):
            Optimizer(self.student())


class TestCommand:
    def test_dry_run_prints_the_settings_and_writes_nothing(self, tmp_path):
        arguments = ["train-backbone", "--data", "a.zip", "--teacher", "t", "--out", str(tmp_path / "x.safetensors")]
        result = CliRunner().invoke(main, [*arguments, "--dry_run", "--batch=8"])
        assert result.exit_code == 0
        assert json.loads(result.output)["batch"] == 8
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("arguments", [["--data", "a.zip"], ["--teacher", "t"]])
    def test_missing_inputs_exit_2(self, tmp_path, arguments):
        result = CliRunner().invoke(main, ["train-backbone", *arguments, "--out", str(tmp_path / "x.safetensors")])
        assert result.exit_code == 2
        assert result.stderr.startswith("error: --")

    def test_a_second_run_needs_resume_and_keeps_its_settings(self, settings, tmp_path, small):
        out = str(tmp_path / "t.safetensors")
        start = ["train-backbone", "--data", settings.data, "--data-folder", "train", "--teacher", settings.teacher]
        start += ["--out", out, "--device", "cpu", "--kimg", "0.002", "--batch", "2", "--seed", "5"]
        assert CliRunner().invoke(main, start).exit_code == 0
        again = CliRunner().invoke(main, start)
        assert (again.exit_code, "--resume" in again.stderr) == (2, True)
        result = CliRunner().invoke(main, ["train-backbone", "--out", out, "--resume", "--dry-run"])
        assert (result.exit_code, json.loads(result.output)["seed"]) == (0, 5)

    def test_unusable_files_exit_1_in_one_line(self, settings, tmp_path):
        arguments = ["train-backbone", "--data", settings.data, "--teacher", settings.data, "--device", "cpu"]
        result = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "x.safetensors")])
        assert result.exit_code == 1
        assert result.stderr.count("\n") == 1
