"""Every architecture trains, is saved, loads and draws: fully connected, StyleGAN 1, and grown within one run."""

from __future__ import annotations

import dataclasses
import json
import shlex

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from relatent.core.errors import UsageError
from stylegan import load
from stylegan.__main__ import main
from stylegan.networks import ops
from stylegan.training.settings import Progressive, TrainingSettings
from stylegan.training.state import load_state, save_state
from stylegan.training.trainer import Trainer

CPU = torch.device("cpu")
TINY = shlex.split("--batch 4 --tick 0.008 --snap 1 --device cpu --kimg 0.016 --no-video")
SMALL = shlex.split("--resolution 8 --z-dim 8 --w-dim 12 --mapping-layers 2 --channel-base 64 --channel-max 8")


def train(outdir, *args):
    result = CliRunner().invoke(main, ["train", "--outdir", str(outdir), *TINY, *map(str, args)])
    assert result.exit_code == 0, result.output
    return json.loads((outdir / "settings.json").read_text())


class TestMlp:
    def test_trains_on_digits_and_goes_on_exactly(self, tmp_path):
        settings = train(tmp_path / "a", "--data", "digits", "--arch", "mlp")
        assert (settings["arch"], settings["generator"]["resolution"]) == ("mlp", 28)
        assert settings["generator"]["img_channels"] == 1
        assert settings["flip"] is False  # a mirrored digit is none
        assert load(tmp_path / "a" / "network-000000.safetensors").resolution == 28
        train(tmp_path / "a", "--resume", "--kimg", 0.032)
        train(tmp_path / "b", "--data", "digits", "--arch", "mlp", "--kimg", 0.032)
        one, two = (load(tmp_path / name / "network-000000.safetensors") for name in "ab")
        assert all(torch.equal(one.state_dict()[name], two.state_dict()[name]) for name in one.state_dict())

    def test_average_follows_batch_norm(self, tmp_path):
        train(tmp_path, "--data", "digits", "--arch", "mlp")
        generator = load(tmp_path / "network-000000.safetensors")
        assert (generator.synthesis.norms[0].running_var != 1).all()

    @pytest.mark.parametrize("args", ["--cond", "--progressive", "--resolution 512"])
    def test_what_it_cannot_do(self, tmp_path, args):
        args = ["--data", "digits", "--arch", "mlp", *args.split()]
        result = CliRunner().invoke(main, ["train", "--outdir", str(tmp_path / "x"), *TINY, *args])
        assert result.exit_code == 2
        assert "Traceback" not in result.output


class TestGrey:
    def test_style_based_networks_draw_grey(self, tmp_path):
        settings = train(tmp_path, "--data", "digits", *SMALL, "--no-cond", "--augment", 1, "--ada")
        assert settings["generator"]["img_channels"] == settings["discriminator"]["img_channels"] == 1
        generator = load(tmp_path / "network-000000.safetensors")
        image = generator(torch.randn(2, 8))
        assert torch.equal(image[:, 0], image[:, 1])

    def test_colour_can_be_asked_for(self, tmp_path):
        settings = train(tmp_path, "--data", "digits", *SMALL, "--no-cond", "--img-channels", 3)
        assert settings["generator"]["img_channels"] == 3


class TestDigits:
    """What `--data digits` changes; benchmarks/results/digits.json says how good the digits are."""

    def settings(self, *options):
        args = ["train", "--data", "digits", "--outdir", "x", "--dry-run", *options]
        result = CliRunner().invoke(main, args)
        assert result.exit_code == 0, result.output
        return json.loads(result.output)

    def test_style_based_networks_draw_by_class(self):
        settings = self.settings("--arch", "stylegan2", "--resolution", "32")
        assert settings["generator"]["c_dim"] == settings["discriminator"]["c_dim"] == 10
        assert settings["flip"] is False
        assert self.settings("--resolution", "32", "--no-cond")["generator"]["c_dim"] == 0

    def test_the_plain_one_draws_without_classes(self):
        assert self.settings("--arch", "mlp")["generator"]["resolution"] == 28


class TestProgressive:
    def test_schedule(self):
        schedule = Progressive(8, stage_kimg=2, fade_kimg=1)
        found = [schedule.at(images, 32) for images in (0, 1999, 2000, 2500, 3000, 4999, 5000, 5500, 6000, 10**7)]
        assert found == [
            (8, 1.0), (8, 1.0), (16, 0.0), (16, 0.5), (16, 1.0), (16, 1.0), (32, 0.0), (32, 0.5), (32, 1.0), (32, 1.0),
        ]  # fmt: skip

    @pytest.mark.parametrize("arch", ["stylegan", "stylegan2"])
    def test_every_stage_loads_and_draws(self, tmp_path, picture_folder, arch):
        options = ["--arch", arch, "--progressive", "--stage-kimg", 0.008, "--fade-kimg", 0.016, "--tick", 0.008]
        small = [*SMALL, "--resolution", 32, "--data", picture_folder]
        sides = []
        for index in range(8):
            kimg = 0.008 * (index + 1)
            train(tmp_path, *small, *options, "--kimg", kimg, *(["--resume"] if index else []))
            generator = load(tmp_path / "network-000000.safetensors")
            assert generator(torch.randn(1, 8)).shape[-1] == generator.resolution
            sides.append(generator.resolution)
        assert sides == [16, 16, 16, 32, 32, 32, 32, 32]
        assert TrainingSettings.from_json((tmp_path / "settings.json").read_text(), tmp_path).arch == arch

    def test_growing_leaves_the_pictures(self, tiny_settings):
        settings = _progressive(tiny_settings)
        trainer = Trainer(settings, _pictures(), None, CPU)
        before = trainer.generator
        w = torch.randn(2, 12)
        small = before.synthesis(before.mapping.truncate(w), "none")
        trainer.images_seen = 8
        trainer.reach_stage()
        assert trainer.resolution == 16
        large = trainer.generator.synthesis(trainer.generator.mapping.truncate(w), "none")
        assert torch.allclose(large, ops.upsample2d(small), atol=1e-5)

    def test_goes_on_exactly(self, tiny_settings, tmp_path):
        settings = _progressive(tiny_settings)
        whole, first, second = (Trainer(settings, _pictures(), None, CPU) for _ in range(3))
        for _ in range(7):
            whole.train_step()
        for _ in range(4):
            first.train_step()
        save_state(first, tmp_path / "state.safetensors")
        load_state(second, tmp_path / "state.safetensors")
        assert second.resolution == first.resolution == 16
        for _ in range(3):
            second.train_step()
        for name, tensor in whole.average.state_dict().items():
            assert torch.equal(tensor, second.average.state_dict()[name]), name

    def test_must_grow(self, tiny_settings):
        with pytest.raises(UsageError, match="larger --resolution"):
            tiny_settings(progressive=Progressive(8))


def _progressive(tiny_settings):
    made = tiny_settings()
    generator = dataclasses.replace(made.generator, resolution=16)
    discriminator = dataclasses.replace(made.discriminator, resolution=16)
    schedule = Progressive(8, stage_kimg=0.008, fade_kimg=0.012)
    return dataclasses.replace(made, generator=generator, discriminator=discriminator, progressive=schedule)


def _pictures():
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (20, 3, 16, 16), dtype=np.uint8))
