import dataclasses

import pytest
import torch

from inversion.losses.loss import LossWeights, Target
from inversion.losses.perceptual import load_perceptual
from inversion.optim.optimisation import learning_rate_factor
from inversion.optim.projector import optimise, split
from inversion.presets import BALANCED, PAPER
from relatent.core.errors import Cancelled, CheckpointError

SHORT = dataclasses.replace(BALANCED, num_steps=12)


@pytest.fixture
def photos(tiny_generator):
    tiny_generator.requires_grad_(False)
    with torch.no_grad():
        w = tiny_generator.sample_w(2, seed=5)
        return tiny_generator.synthesis(tiny_generator.mapping.truncate(w, 0.8))


def target(images):
    return Target(images, load_perceptual())


@pytest.mark.slow
def test_recovers_a_generated_picture(tiny_generator, photos):
    settings = dataclasses.replace(
        BALANCED, num_steps=300, learning_rate=0.1, weights=LossWeights(pixels=10), optimise_noise=False
    )
    start = target(photos).terms(
        tiny_generator.synthesis(tiny_generator.w_avg.expand(2, tiny_generator.num_ws, -1)), settings.weights
    )
    latents, losses = optimise(tiny_generator, target(photos), settings, seed=0)
    assert (losses < start / 20).all()
    drawn = tiny_generator.synthesis(latents.ws(tiny_generator.num_ws), noise=latents.noise)
    assert (drawn - photos).square().mean() < 0.01


def test_losses_are_those_of_the_latents_returned(tiny_generator, photos):
    latents, losses = optimise(tiny_generator, target(photos), SHORT, seed=0)
    drawn = tiny_generator.synthesis(latents.ws(tiny_generator.num_ws), noise=latents.noise)
    torch.testing.assert_close(target(photos).terms(drawn, SHORT.weights), losses, rtol=1e-4, atol=1e-5)


def test_same_seed_same_result_and_another_seed_another(tiny_generator, photos):
    first, _ = optimise(tiny_generator, target(photos), SHORT, seed=1)
    again, _ = optimise(tiny_generator, target(photos), SHORT, seed=1)
    other, _ = optimise(tiny_generator, target(photos), SHORT, seed=2)
    assert torch.equal(first.w, again.w)
    assert all(torch.equal(a, b) for a, b in zip(first.noise, again.noise, strict=True))
    assert not torch.equal(first.w, other.w)


def test_a_photo_does_not_depend_on_its_company(tiny_generator, photos):
    settings = dataclasses.replace(SHORT, num_steps=3)
    together, _ = optimise(tiny_generator, target(photos), settings, seed=1)
    alone, _ = optimise(tiny_generator, target(photos[1:]), settings, seed=1)
    torch.testing.assert_close(together.w[1:], alone.w, rtol=1e-3, atol=1e-3)


def test_the_best_step_is_kept(tiny_generator, photos):
    seen = []
    wild = dataclasses.replace(SHORT, learning_rate=3.0, lr_rampdown_length=0.0, initial_noise_factor=0.0)
    _, losses = optimise(tiny_generator, target(photos), wild, seed=0, progress=lambda s: seen.append(s.losses))
    assert (losses <= torch.stack(seen).amin(dim=0) + 1e-6).all()
    last = dataclasses.replace(wild, keep_best=False)
    _, last_losses = optimise(tiny_generator, target(photos), last, seed=0)
    assert (losses <= last_losses).all()


def test_progress_sees_each_step_and_can_cancel(tiny_generator, photos):
    seen = []

    def watch(step):
        seen.append((step.index, step.total, tuple(step.images.shape), tuple(step.losses.shape)))
        return step.index < 4

    with pytest.raises(Cancelled, match="step 4 of 12"):
        optimise(tiny_generator, target(photos), SHORT, seed=0, progress=watch)
    assert seen == [(i, 12, (2, 3, 32, 32), (2,)) for i in (1, 2, 3, 4)]


def test_w_is_one_latent_and_wplus_many(tiny_generator, photos):
    latents, _ = optimise(tiny_generator, target(photos), dataclasses.replace(PAPER, num_steps=8), seed=0)
    (ws, noise), _ = split(latents, tiny_generator.num_ws)
    assert ws.shape == (1, tiny_generator.num_ws, tiny_generator.w_dim)
    assert (ws == ws[:, :1]).all()
    assert [level.shape for level in noise] == [b.shape for b in tiny_generator.synthesis.noise_buffers]
    latents, _ = optimise(tiny_generator, target(photos), SHORT, seed=0)
    (ws, _), _ = split(latents, tiny_generator.num_ws)
    assert not (ws == ws[:, :1]).all()


def test_noise_stays_normalised_or_untouched(tiny_generator, photos):
    latents, _ = optimise(tiny_generator, target(photos), SHORT, seed=0)
    for level in latents.noise:
        torch.testing.assert_close(level.mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-4, rtol=0)
    fixed, _ = optimise(tiny_generator, target(photos), dataclasses.replace(SHORT, optimise_noise=False), seed=0)
    for level, buffer in zip(fixed.noise, tiny_generator.synthesis.noise_buffers, strict=True):
        assert torch.equal(level[:1], buffer)


def test_weights_get_no_gradient(tiny_generator, photos):
    optimise(tiny_generator, target(photos), dataclasses.replace(SHORT, num_steps=2), seed=0)
    assert all(parameter.grad is None for parameter in tiny_generator.parameters())


def test_delta_pulls_the_layers_together(tiny_generator, photos):
    def spread(weight):
        settings = dataclasses.replace(SHORT, num_steps=40, weights=LossWeights(delta=weight))
        latents, _ = optimise(tiny_generator, target(photos), settings, seed=0)
        return (latents.w - latents.w.mean(dim=1, keepdim=True)).square().mean()

    assert spread(10.0) < 0.5 * spread(0.0)


def test_a_start_is_used(tiny_generator, photos):
    with torch.no_grad():
        ws = tiny_generator.mapping.truncate(tiny_generator.sample_w(2, seed=5), 0.8)
    quick = dataclasses.replace(SHORT, num_steps=1, learning_rate=1e-6, optimise_noise=False)
    latents, losses = optimise(tiny_generator, target(photos), quick, seed=0, start=ws)
    torch.testing.assert_close(latents.w, ws, atol=1e-4, rtol=0)
    assert losses.max() < 1e-3


def test_the_papers_schedule():
    # up over the first 5 %, 1 in the middle, down along a cosine over the last 25 %
    assert learning_rate_factor(0.0, PAPER) == 0
    assert learning_rate_factor(0.025, PAPER) == pytest.approx(0.5)
    assert learning_rate_factor(0.5, PAPER) == pytest.approx(1.0)
    assert learning_rate_factor(0.875, PAPER) == pytest.approx(0.5)
    assert learning_rate_factor(1.0, PAPER) == pytest.approx(0.0)


def test_a_broken_network_is_named_as_such(tiny_generator, photos):
    with torch.no_grad():
        tiny_generator.synthesis.blocks["8"].torgb.bias.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="not finite"):
        optimise(tiny_generator, target(photos), dataclasses.replace(SHORT, num_steps=2), seed=0)


def test_bfloat16_is_for_features_alone(tiny_generator, photos):
    seen = []
    coarse = Target(photos, load_perceptual(), dtype=torch.bfloat16)
    latents, losses = optimise(tiny_generator, coarse, SHORT, seed=0, progress=lambda s: seen.append(s))
    exact, _ = optimise(tiny_generator, target(photos), SHORT, seed=0)
    assert not torch.equal(latents.w, exact.w)
    torch.testing.assert_close(latents.w, exact.w, rtol=0, atol=0.5)
    kinds = {latents.w.dtype, losses.dtype, seen[0].losses.dtype, seen[0].images.dtype}
    assert kinds | {level.dtype for level in latents.noise} == {torch.float32}
    assert losses.max() < seen[0].losses.max()
