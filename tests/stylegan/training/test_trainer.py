"""The training loop: when R1 acts, how the average moves, which pictures are shown, and that it learns."""

from __future__ import annotations

import dataclasses
import math
import sys

import pytest
import reference
import torch

from stylegan.training import loss as gan_loss
from stylegan.training.seeding import seeded
from stylegan.training.trainer import Trainer

CPU = torch.device("cpu")


def parameters(trainer, network):
    return dict(getattr(trainer, network).named_parameters())


class TestSteps:
    def test_r1_acts_on_every_16th_step_only(self, tiny_trainer, monkeypatch):
        trainer, at = tiny_trainer(r1_interval=16), []
        original = gan_loss.r1_penalty
        monkeypatch.setattr(gan_loss, "r1_penalty", lambda *args: at.append(trainer.step) or original(*args))
        trainer.run_tick(33 * 4)
        assert at == [0, 16, 32]

    def test_r1_is_off_with_gamma_0(self, tiny_trainer, tiny_settings, monkeypatch):
        loss_weights = dataclasses.replace(tiny_settings().loss_weights, r1_gamma=0)
        monkeypatch.setattr(gan_loss, "r1_penalty", None)
        assert tiny_trainer(loss_weights=loss_weights).run_tick(8).r1 == 0

    def test_r1_counts_for_the_steps_it_stands_for(self, tiny_trainer, monkeypatch):
        """With a penalty that only shifts the loss, its weight can be read from the gradient of a stand-in."""
        trainer = tiny_trainer(r1_interval=16)
        stand_in = torch.tensor(3.0, requires_grad=True)
        monkeypatch.setattr(gan_loss, "r1_penalty", lambda *_: stand_in.expand(4))
        trainer.train_step()
        assert stand_in.grad.item() == pytest.approx(0.01 / 2 * 16)

    def test_lazy_regularisation_corrects_adam(self, tiny_trainer):
        trainer = tiny_trainer(r1_interval=16)
        generator, discriminator = trainer.optimizer_g.param_groups[0], trainer.optimizer_d.param_groups[0]
        assert (generator["lr"], generator["betas"]) == (0.0025, (0.0, 0.99))
        assert discriminator["lr"] == pytest.approx(0.0025 * 16 / 17)
        assert discriminator["betas"] == (0.0, pytest.approx(0.99 ** (16 / 17)))

    def test_each_network_follows_its_own_loss(self, tiny_trainer):
        trainer = tiny_trainer()
        before = {name: value.detach().clone() for name, value in parameters(trainer, "generator").items()}
        real, _ = trainer._real_batch()
        trainer._move_discriminators(trainer._discriminator_gradients(real, torch.randn(4, 3, 8, 8), None))
        after = parameters(trainer, "generator")
        assert all(torch.equal(before[name], after[name]) for name in before)
        judge = {name: value.detach().clone() for name, value in parameters(trainer, "discriminator").items()}
        z = torch.randn(4, 8)
        trainer._generator_gradients(trainer.generator(z), z, None)
        trainer._move_generator()
        assert all(torch.equal(judge[name], value) for name, value in parameters(trainer, "discriminator").items())
        assert any(not torch.equal(before[name], after[name]) for name in before)

    def test_every_parameter_moves(self, tiny_trainer):
        for changes in ({}, {"c_dim": 3}, {"style_method": "adain"}):
            trainer = tiny_trainer(**changes)
            before = {n: v.clone() for n in ("generator", "discriminator") for n, v in parameters(trainer, n).items()}
            trainer.run_tick(12)
            now = {n: v for n in ("generator", "discriminator") for n, v in parameters(trainer, n).items()}
            assert [name for name in before if torch.equal(before[name], now[name])] == []

    def test_leaves_the_global_random_numbers_alone(self, tiny_trainer):
        torch.manual_seed(7)
        expected = torch.rand(3)
        torch.manual_seed(7)
        tiny_trainer().run_tick(8)
        assert torch.equal(torch.rand(3), expected)

    def test_randomness_depends_on_seed_and_step(self):
        def draw(seed, step):
            with seeded(seed, step, CPU):
                return torch.rand(1).item()

        assert draw(0, 1) == draw(0, 1)
        assert len({draw(seed, step) for seed in (0, 1, -5, 10**20) for step in (-1, 0, 1)}) == 12

    def test_seed_changes_the_run(self, tiny_trainer):
        losses = [tiny_trainer(seed=seed).run_tick(8).loss_g for seed in (0, 0, 1)]
        assert losses[0] == losses[1] != losses[2]


class TestTick:
    def test_numbers(self, tiny_trainer):
        trainer = tiny_trainer()
        first, second = trainer.run_tick(10), trainer.run_tick(8)
        assert (first.kimg, second.kimg) == (0.012, 0.02)  # rounded up to whole batches of 4
        assert trainer.images_seen == 20
        assert first.seconds <= second.seconds
        assert first.seconds_per_kimg > 0
        assert 0 < first.loss_g < 10
        assert 0 < first.loss_d < 10
        assert first.r1 > 0
        assert 0 <= first.real_accuracy <= 1
        assert 0 <= first.fake_accuracy <= 1
        assert 50 < first.memory_mb < 100_000
        assert first.distance is None  # the loop measures no snapshots
        assert all(math.isfinite(value) for value in dataclasses.astuple(first) if value is not None)

    def test_losses_and_accuracy_are_those_of_the_networks(self, tiny_trainer, monkeypatch):
        trainer = tiny_trainer(augment_strength=0)
        calls = []
        original = trainer._logits

        def spy(*args, **kwargs):
            calls.append(original(*args, **kwargs))
            return calls[-1]

        monkeypatch.setattr(trainer, "_logits", spy)
        tick = trainer.run_tick(4)
        real, fake, again = (call.detach().flatten().tolist() for call in calls)
        assert tick.real_accuracy == sum(logit > 0 for logit in real) / 4
        assert tick.fake_accuracy == sum(logit < 0 for logit in fake) / 4
        expected = sum(map(reference.discriminator_loss, real, fake)) / 4
        assert tick.loss_d == pytest.approx(expected, abs=1e-4)
        assert tick.loss_g == pytest.approx(sum(map(reference.generator_loss, again)) / 4, abs=1e-4)


class TestAverage:
    @pytest.mark.parametrize(("ema_kimg", "ema_rampup"), [(0.02, 0.5), (0.02, 0.0), (10.0, 0.05), (0.0, 0.05)])
    def test_formula_by_hand(self, tiny_trainer, ema_kimg, ema_rampup):
        trainer = tiny_trainer(ema_kimg=ema_kimg, ema_rampup=ema_rampup)
        name = "synthesis.blocks.4.conv1.weight"
        start = parameters(trainer, "generator")[name][0, 0, 0, 0].item()
        values, averages = [], []
        for _ in range(6):
            trainer.train_step()
            values.append(parameters(trainer, "generator")[name][0, 0, 0, 0].item())
            averages.append(parameters(trainer, "average")[name][0, 0, 0, 0].item())
        half_life = max(ema_kimg * 1000, 1e-8)
        expected = reference.moving_average(start, values, 4, half_life, ema_rampup or math.inf)
        assert averages == pytest.approx(expected, rel=1e-5)

    def test_is_frozen_and_of_the_generator_s_parameters(self, tiny_trainer):
        trainer = tiny_trainer()
        assert not any(parameter.requires_grad for parameter in trainer.average.parameters())
        assert parameters(trainer, "average").keys() == parameters(trainer, "generator").keys()


class TestPictures:
    def numbered(self, settings, count):
        """A trainer on pictures that hold nothing but their own number."""
        images = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(count, 3, 8, 8).contiguous()
        return Trainer(settings, images, torch.arange(count), CPU)

    def shown(self, trainer, steps):
        numbers = []
        for _ in range(steps):
            real, _ = trainer._real_batch()
            numbers += ((real[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()
            trainer.images_seen += trainer.settings.batch
        return numbers

    @pytest.mark.parametrize(("count", "batch"), [(20, 4), (20, 6), (7, 3), (5, 5), (3, 7)])
    def test_each_has_its_turn_once_an_epoch(self, tiny_settings, count, batch):
        numbers = self.shown(self.numbered(tiny_settings(batch=batch), count), 5 * count)
        epochs = [numbers[first : first + count] for first in range(0, 5 * count * batch, count)]
        assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) > 1

    def test_also_across_a_resume(self, tiny_settings):
        settings = tiny_settings(batch=6)
        unbroken = self.shown(self.numbered(settings, 20), 10)
        resumed = self.numbered(settings, 20)
        resumed.images_seen = 4 * 6
        assert self.shown(resumed, 6) == unbroken[24:]

    def test_classes_go_with_their_pictures(self, tiny_settings):
        trainer = self.numbered(tiny_settings(c_dim=20), 20)
        real, c = trainer._real_batch()
        assert c.shape == (4, 20)
        assert c.argmax(dim=1).tolist() == ((real[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()

    def test_flips_are_optional(self, tiny_settings):
        images = torch.randint(0, 256, (20, 3, 8, 8), dtype=torch.uint8)
        known = {tuple(image.flatten().tolist()) for image in images}
        for flip in (False, True):
            trainer = Trainer(tiny_settings(flip=flip), images, None, CPU)
            pixels = [tuple(x.flatten().tolist()) for x in ((trainer._real_batch()[0] + 1) * 127.5).round().int()]
            assert all(p in known for p in pixels) == (not flip)


class TestVariants:
    @pytest.mark.parametrize(
        "changes",
        [
            {"precision": "bfloat16"},
            {"precision": "float16"},
            {"style_method": "adain"},
            {"style_method": "adain", "precision": "bfloat16"},
            {"c_dim": 3},
            {"c_dim": 3, "precision": "bfloat16", "augment_strength": 1.0},
            {"batch": 3, "augment_strength": 0.0, "flip": False},
            {"batch": 1},
        ],
        ids=str,
    )
    def test_runs(self, tiny_trainer, changes):
        trainer = tiny_trainer(**changes)
        tick = trainer.run_tick(3 * trainer.settings.batch)
        assert all(math.isfinite(value) for value in dataclasses.astuple(tick) if value is not None)
        assert all(p.dtype == torch.float32 and p.isfinite().all() for p in trainer.generator.parameters())

    def test_bfloat16_follows_float32(self, tiny_trainer):
        ticks = [tiny_trainer(precision=precision).run_tick(12) for precision in ("float32", "bfloat16")]
        assert ticks[0].loss_g != ticks[1].loss_g
        assert ticks[0].loss_g == pytest.approx(ticks[1].loss_g, rel=0.1)

    def test_channels(self, tiny_settings):
        sizes = {"channel_base": 100, "channel_max": 7}
        settings = tiny_settings()
        settings = dataclasses.replace(
            settings,
            generator=dataclasses.replace(settings.generator, **sizes),
            discriminator=dataclasses.replace(settings.discriminator, **sizes),
        )
        images = torch.randint(0, 256, (8, 3, 8, 8), dtype=torch.uint8)
        assert math.isfinite(Trainer(settings, images, None, CPU).run_tick(8).loss_g)


@pytest.mark.parametrize("method", ["demodulate", "adain"])
def test_learns_the_colour_of_its_data(tiny_settings, method):
    """Two constant pictures, both red without blue: the generator's mean colour must go there."""
    colours = torch.tensor([[230, 100, 20], [190, 140, 20]], dtype=torch.uint8)
    images = colours.repeat(16, 1)[:, :, None, None].expand(32, 3, 8, 8).contiguous()
    settings = tiny_settings(batch=8, r1_interval=16, style_method=method, learning_rate=0.01, augment_strength=0.0)
    trainer = Trainer(settings, images, None, CPU)
    wanted = colours.double().mean(dim=0) / 127.5 - 1

    def distance():
        with torch.no_grad():
            return (trainer.average(torch.randn(64, 8)).mean(dim=(0, 2, 3)).double() - wanted).norm().item()

    before = distance()
    assert before > 0.5
    trainer.run_tick(8 * 80)
    assert distance() < 0.5 * before


def test_trains_where_the_system_does_not_tell_its_memory(tiny_trainer, monkeypatch):
    """Windows has no module ``resource``."""
    monkeypatch.setitem(sys.modules, "resource", None)
    assert tiny_trainer().run_tick(4).memory_mb == 0
