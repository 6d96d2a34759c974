"""Pivotal tuning: a photo's own network is closer to it, small, stored whole, and leaves the shared one alone."""

import dataclasses

import pytest
import torch

from inversion.inversion import Inversion
from inversion.losses.loss import LossWeights, Target
from inversion.losses.perceptual import load_perceptual
from inversion.optim.low_rank import draw, tunable, tuned_weights
from inversion.optim.optimisation import Latents
from inversion.optim.pivotal_tuning import tune
from inversion.presets import TuningSettings
from relatent.core.errors import Cancelled, CheckpointError, ShapeError
from stylegan import network_id

SHORT = TuningSettings(num_steps=12, learning_rate=0.03, rank=2)


@pytest.fixture
def photos():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def pivots(tiny_generator):
    ws = tiny_generator.mapping.truncate(tiny_generator.sample_w(2, seed=3))
    noise = [torch.randn(2, 1, *level.shape[2:]) for level in tiny_generator.synthesis.noise_buffers]
    return Latents(ws, noise)


@pytest.fixture
def target(photos):
    return Target(photos, load_perceptual())


def noise_of(pivots, index):
    return [level[index : index + 1] for level in pivots.noise]


def test_comes_closer_to_each_photo(tiny_generator, target, pivots):
    with torch.no_grad():
        before = target.terms(tiny_generator.synthesis(pivots.w, noise=pivots.noise), SHORT.weights)
    tuned, losses = tune(tiny_generator, target, pivots, SHORT, seed=0)
    assert (losses < before * 0.95).all()
    for index, one in enumerate(target.each()):
        drawn = draw(tiny_generator, pivots.w[index : index + 1], noise_of(pivots, index), tuned[index])
        torch.testing.assert_close(one.terms(drawn, SHORT.weights), losses[index : index + 1])


def test_leaves_the_network_alone(tiny_generator, target, pivots):
    before = {name: value.clone() for name, value in tiny_generator.state_dict().items()}
    tune(tiny_generator, target, pivots, SHORT, seed=0)
    assert all(torch.equal(before[name], value) for name, value in tiny_generator.state_dict().items())


def test_photos_do_not_see_each_other(tiny_generator, photos, target, pivots):
    together, _ = tune(tiny_generator, target, pivots, SHORT, seed=0)
    second = Latents(pivots.w[1:], [level[1:] for level in pivots.noise])
    alone, _ = tune(tiny_generator, Target(photos[1:], load_perceptual()), second, SHORT, seed=0)
    # All factors as one: Adam steps as far where a gradient is next to nothing, and rounding alone decides which way.
    found, expected, other = (
        torch.cat([factor.flatten().float() for pair in tuned.values() for factor in pair])
        for tuned in (together[1], alone[0], together[0])
    )
    assert (found - expected).norm() < 0.05 * expected.norm()
    assert (other - expected).norm() > 0.2 * expected.norm()


def test_starts_at_the_network_itself(tiny_generator, target, pivots):
    settings = dataclasses.replace(SHORT, learning_rate=0.0)
    tuned, _ = tune(tiny_generator, target, pivots, settings, seed=0)
    changed, plain = tuned_weights(tiny_generator, tuned[0]), tunable(tiny_generator)
    assert changed.keys() == plain.keys()
    assert all(torch.equal(changed[name], plain[name]) for name in plain)


def test_rank_bounds_what_changes(tiny_generator, target, pivots):
    tuned, _ = tune(tiny_generator, target, pivots, SHORT, seed=0)
    for name, weight in tuned_weights(tiny_generator, tuned[0]).items():
        change = (weight - tunable(tiny_generator)[name]).flatten(1).double()
        assert torch.linalg.matrix_rank(change, atol=1e-5) <= 2


def test_locality_holds_the_rest_in_place(tiny_generator, photos, pivots):
    """Pictures of other latents move less with the term than without it."""
    one, target = Latents(pivots.w[:1], noise_of(pivots, 0)), Target(photos[:1], load_perceptual())

    def drift(locality):
        settings = dataclasses.replace(SHORT, locality=locality, locality_interval=1, num_steps=25)
        tuned, _ = tune(tiny_generator, target, one, settings, seed=0)
        ws = pivots.w[:1] + 0.2 * (tiny_generator.mapping.truncate(tiny_generator.sample_w(8, 9)) - pivots.w[:1])
        noise = noise_of(pivots, 0)
        with torch.no_grad():
            return float((draw(tiny_generator, ws, noise, tuned[0]) - draw(tiny_generator, ws, noise)).square().mean())

    assert drift(5.0) < 0.8 * drift(0.0)


def test_can_be_cancelled(tiny_generator, target, pivots):
    seen = []

    def stop(step):
        seen.append((step.index, step.total, step.stage))
        return len(seen) < 14

    with pytest.raises(Cancelled, match="tuning"):
        tune(tiny_generator, target, pivots, SHORT, seed=0, progress=stop)
    assert seen[0] == (1, 24, "tune")  # counted through both photos
    assert seen[-1] == (14, 24, "tune")


class TestStored:
    @pytest.fixture
    def inversion(self, tiny_generator, target, pivots):
        tuned, _ = tune(tiny_generator, target, pivots, SHORT, seed=0)
        return Inversion(
            ws=pivots.w[:1], noise=tuple(noise_of(pivots, 0)), network=network_id(tiny_generator), tuned=tuned[0]
        )

    def test_draws_the_same_on_another_day(self, tiny_generator, inversion, tmp_path):
        inversion.save(tmp_path / "one.safetensors")
        again = Inversion.load(tmp_path / "one.safetensors")
        assert torch.equal(again.tensor(tiny_generator), inversion.tensor(tiny_generator))
        plain = inversion.replace(tuned=None)
        assert not torch.equal(again.tensor(tiny_generator), plain.tensor(tiny_generator))

    def test_half_an_addition_is_refused(self, inversion, tmp_path):
        from safetensors import safe_open
        from safetensors.torch import load_file, save_file

        path = tmp_path / "one.safetensors"
        inversion.save(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        tensors = load_file(path)
        del tensors[next(name for name in tensors if name.endswith(".left"))]
        save_file(tensors, path, metadata=metadata)
        with pytest.raises(CheckpointError, match="damaged inversion"):
            Inversion.load(path)

    def test_additions_of_another_network_are_refused(self, tiny_generator):
        with pytest.raises(ShapeError, match="fits no convolution"):
            tuned_weights(tiny_generator, {"blocks.4.conv1.weight": (torch.zeros(3, 1), torch.zeros(1, 9))})
        with pytest.raises(ShapeError, match="fits no convolution"):
            tuned_weights(tiny_generator, {"nothing": (torch.zeros(3, 1), torch.zeros(1, 9))})


def test_weights_of_the_loss_count(tiny_generator, target, pivots):
    settings = dataclasses.replace(SHORT, weights=LossWeights(lpips=0.0, pixels=1.0, noise=0.0))
    tuned, losses = tune(tiny_generator, target, pivots, settings, seed=0)
    drawn = draw(tiny_generator, pivots.w[:1], noise_of(pivots, 0), tuned[0])
    assert float(losses[0]) == pytest.approx(float((drawn - target.images[:1]).square().mean()), rel=1e-4)


def test_networks_with_classes(target):
    from stylegan import Generator, GeneratorConfig

    config = GeneratorConfig(
        resolution=32, z_dim=8, w_dim=12, c_dim=3, mapping_layers=2, channel_base=128, channel_max=4
    )
    network = Generator(config, name="classes").eval().requires_grad_(False)
    pivots = Latents(network.sample_w(2, 0)[:, None].repeat(1, network.num_ws, 1), network.synthesis.noise_buffers)
    pivots.noise = [level.repeat(2, 1, 1, 1) for level in pivots.noise]
    tuned, losses = tune(network, target, pivots, dataclasses.replace(SHORT, num_steps=2), seed=0)
    assert len(tuned) == 2
    assert losses.isfinite().all()
