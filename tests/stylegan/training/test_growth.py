"""A network of 8 px grows to 16: what it starts as, how the new blocks fade in, and what the command does."""

import dataclasses
import json

import pytest
import torch
from click.testing import CliRunner

from relatent.core.errors import CheckpointError, UsageError
from stylegan import load
from stylegan.__main__ import main
from stylegan.training.growth import grown_settings, settled
from stylegan.training.settings import Progressive, TrainingSettings
from stylegan.training.state import describe_state, load_smaller, load_state, save_state
from stylegan.training.trainer import Trainer

CPU = torch.device("cpu")
FADE_KIMG = 0.04  # ten steps of four pictures


@pytest.fixture
def small(tiny_trainer):
    """A trainer at 8 px that has taken a few steps."""
    trainer = tiny_trainer()
    trainer.run_tick(12)
    return trainer


@pytest.fixture
def state(small, tmp_path):
    save_state(small, tmp_path / "state.safetensors")
    return tmp_path / "state.safetensors"


@pytest.fixture
def grow(small, state):
    """A function that makes the trainer at 16 px that begins with ``small``'s networks."""

    def make():
        images = torch.randint(0, 256, (20, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        settings = grown_settings(small.settings, small.images_seen, FADE_KIMG, "tiny")
        trainer = Trainer(settings, images, torch.arange(20) % 3, CPU)
        load_smaller(trainer, state)
        return trainer

    return make


def enlarged(generator, ws):
    from stylegan.networks import ops

    return ops.upsample2d(generator.synthesis(ws, "none"))


class TestStart:
    def test_draws_the_old_pictures_enlarged(self, small, grow):
        grown = grow()
        grown.set_fade()
        for new, old in ((grown.generator, small.generator), (grown.average, small.average)):
            ws = old.mapping(torch.randn(3, 8))
            longer = torch.cat([ws, torch.randn(3, 2, 12)], dim=1)  # what the new layers read is of no account
            torch.testing.assert_close(new.synthesis(longer, "none"), enlarged(old, ws))

    def test_judges_the_old_pictures_as_before(self, small, grow):
        grown = grow()
        grown.set_fade()
        pictures = torch.randn(4, 3, 8, 8)
        doubled = pictures.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        torch.testing.assert_close(grown.discriminator(doubled), small.discriminator(pictures))

    def test_a_second_time(self, grow, tmp_path):
        """The fromRGB layer of the first network is no part of the third."""
        middle = grow()
        middle.run_tick(FADE_KIMG * 1000)
        save_state(middle, tmp_path / "middle.safetensors")
        settings = grown_settings(middle.settings, middle.images_seen, FADE_KIMG, "tiny")
        images = torch.zeros(20, 3, 32, 32, dtype=torch.uint8)
        largest = Trainer(settings, images, torch.arange(20) % 3, CPU)
        load_smaller(largest, tmp_path / "middle.safetensors")
        assert torch.equal(largest.discriminator.old_fromrgb.weight, middle.discriminator.fromrgb.weight)
        for trainer in (middle, largest):
            trainer.set_fade()
        pictures = torch.randn(4, 3, 16, 16)
        doubled = pictures.repeat_interleave(2, 2).repeat_interleave(2, 3)
        torch.testing.assert_close(largest.discriminator(doubled), middle.discriminator(pictures))

    def test_from_a_state_in_half_precision(self, small, state, grow):
        save_state(small, state, half=True)
        grown = grow()
        for size in ("4", "8", "16"):
            noises = [getattr(grown, n).synthesis.blocks[size].conv1.noise_const for n in ("generator", "average")]
            assert torch.equal(*noises)

    def test_r1_follows_its_rule(self, small, grow):
        assert grow().settings.loss_weights.r1_gamma == pytest.approx(4 * small.settings.loss_weights.r1_gamma)


class TestFading:
    def test_weight_rises_to_1(self, grow):
        trainer, weights = grow(), []
        for _ in range(12):
            trainer.train_step()
            weights.append(float(trainer.generator.synthesis.fade))
        assert weights == pytest.approx([0.1 * step for step in range(10)] + [1, 1])
        assert float(trainer.discriminator.fade) == float(trainer.average.synthesis.fade) == 1

    def test_everything_learns_while_it_fades(self, grow):
        trainer = grow()
        networks = (trainer.generator, trainer.discriminator)
        before = [[p.detach().clone() for p in network.parameters()] for network in networks]
        for _ in range(4):
            trainer.train_step()
        for network, old in zip(networks, before, strict=True):
            assert not any(torch.equal(a, b) for a, b in zip(network.parameters(), old, strict=True))

    def test_the_old_layer_counts_no_more_at_the_end(self, grow):
        trainer = grow()
        trainer.discriminator.fade.fill_(1)
        pictures = torch.randn(4, 3, 16, 16)
        before = trainer.discriminator(pictures)
        with torch.no_grad():
            trainer.discriminator.old_fromrgb.weight.add_(1)
        assert torch.equal(trainer.discriminator(pictures), before)

    def test_settled_draws_the_same_without_fading(self, grow):
        trainer = grow()
        for _ in range(4):
            trainer.train_step()
        still, ws = settled(trainer.average), torch.randn(2, 6, 12)
        assert still.synthesis.fade is None
        assert 0 < float(trainer.average.synthesis.fade) < 1
        torch.testing.assert_close(still.synthesis(ws), trainer.average.synthesis(ws))

    def test_of_a_network_that_never_grew_is_itself(self, tiny_generator):
        assert settled(tiny_generator) is tiny_generator

    def test_resumes_bit_for_bit_in_the_middle(self, grow, tmp_path):
        whole, broken = grow(), grow()
        for _ in range(6):
            whole.train_step()
        for _ in range(3):
            broken.train_step()
        save_state(broken, tmp_path / "middle.safetensors")
        resumed = grow()
        load_state(resumed, tmp_path / "middle.safetensors")
        assert float(resumed.average.synthesis.fade) == pytest.approx(0.3)
        for _ in range(3):
            resumed.train_step()
        for name in ("generator", "discriminator", "average"):
            for a, b in zip(getattr(whole, name).parameters(), getattr(resumed, name).parameters(), strict=True):
                assert torch.equal(a, b)


class TestRefusals:
    def test_largest_size(self, tiny_settings):
        settings = tiny_settings()
        sizes = {
            name: dataclasses.replace(getattr(settings, name), resolution=1024)
            for name in ("generator", "discriminator")
        }
        with pytest.raises(UsageError, match="cannot grow"):
            grown_settings(dataclasses.replace(settings, **sizes), 0, 1, "tiny")

    def test_a_run_that_is_still_growing(self, tiny_settings):
        grown = grown_settings(tiny_settings(), 0, 2, "tiny")
        with pytest.raises(UsageError, match=r"still growing to 16 px after 1\.9 thousand"):
            grown_settings(grown, 1900, 2, "tiny")
        assert grown_settings(grown, 2000, 2, "tiny").generator.resolution == 32

    def test_only_a_progressive_run_that_has_ended_grows(self, tiny_settings):
        sizes = tiny_settings()
        sizes = {
            name: dataclasses.replace(getattr(sizes, name), resolution=16) for name in ("generator", "discriminator")
        }
        settings = dataclasses.replace(tiny_settings(), **sizes, progressive=Progressive(8, 2, 1))
        for images in (1000, 2500):
            with pytest.raises(UsageError, match="still growing"):
                grown_settings(settings, images, 1, "tiny")
        grown = grown_settings(settings, 3000, 1, "tiny")
        assert (grown.progressive, grown.generator.resolution) == (None, 32)

    def test_state_of_another_network(self, tiny_trainer, grow, tmp_path):
        save_state(tiny_trainer(c_dim=3), tmp_path / "other.safetensors")
        with pytest.raises(CheckpointError, match="cannot grow into this network"):
            load_smaller(grow(), tmp_path / "other.safetensors")

    def test_fade_of_no_pictures(self, tiny_settings):
        with pytest.raises(UsageError, match="fade_kimg"):
            grown_settings(tiny_settings(), 0, 0, "tiny")

    def test_settings_survive_the_file(self, tiny_settings, tmp_path):
        settings = grown_settings(tiny_settings(), 0, 2, "tiny")
        assert TrainingSettings.from_json(settings.to_json(), tmp_path) == settings


class TestCommand:
    def run(self, *args):
        return CliRunner().invoke(main, ["train", *map(str, args), "--device", "cpu"])

    @pytest.mark.slow
    def test_grows_and_goes_on(self, state, picture_folder, tmp_path):
        args = ["--data", picture_folder, "--outdir", tmp_path / "run", "--kimg", 0.02]
        result = self.run(*args, "--grow-from", state, "--fade-kimg", FADE_KIMG)
        assert result.exit_code == 0, result.output
        assert load(tmp_path / "run" / "network-000000.safetensors").resolution == 16
        settings = json.loads((tmp_path / "run" / "settings.json").read_text())
        assert settings["growth"] == {"fade_kimg": FADE_KIMG, "origin": describe_state(state)}
        assert describe_state(state) == "tiny at 8 px after 12 pictures"
        result = self.run(*args[:-1], 0.04, "--resume")
        assert result.exit_code == 0, result.output

    def test_a_network_is_no_state(self, network, picture_folder, tmp_path):
        result = self.run("--data", picture_folder, "--outdir", tmp_path / "run", "--grow-from", network)
        assert result.exit_code == 1
        assert "not the state of a training run" in result.output
        assert not (tmp_path / "run").exists()
