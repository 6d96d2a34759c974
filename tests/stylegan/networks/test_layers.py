"""The equalised learning rate, and the scale of what untrained networks make."""

from __future__ import annotations

import pytest
import torch

from stylegan import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from stylegan.networks.layers import Conv2d, Linear


def seeded(kind, *args, **kwargs):
    torch.manual_seed(0)
    made = kind(*args, **kwargs)
    torch.manual_seed(1)  # or inputs drawn next could repeat the weights
    return made


def rms(x):
    return x.detach().square().mean().sqrt().item()


def effective(layer):
    return layer.weight * layer.weight_gain, layer.bias * layer.lr_multiplier


@pytest.mark.parametrize("multiplier", [1.0, 0.1, 0.01])
def test_multiplier_changes_the_pace_and_not_the_start(multiplier):
    plain, slow = seeded(Linear, 32, 8), seeded(Linear, 32, 8, lr_multiplier=multiplier)
    x = torch.randn(5, 32)
    assert torch.allclose(plain(x), slow(x), atol=1e-5)
    changes = []
    for layer in (plain, slow):
        before = [value.detach().clone() for value in effective(layer)]
        adam = torch.optim.Adam(layer.parameters(), lr=0.1)
        layer(x).square().sum().backward()
        adam.step()
        changes.append([after - old for after, old in zip(effective(layer), before, strict=True)])
    for fast, slowed in zip(*changes, strict=True):
        assert torch.allclose(slowed, fast * multiplier, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "sizes", "shape"),
    [(Linear, (512, 4), (2, 512)), (Linear, (8, 256), (2, 8)), (Conv2d, (4, 64, 3), (2, 4, 8, 8))],
)
def test_every_layer_moves_at_the_same_relative_pace(kind, sizes, shape):
    """Adam's first step changes each stored weight by the learning rate, and all are stored with unit variance."""
    layer = seeded(kind, *sizes)
    before = layer.weight.detach().clone()
    adam = torch.optim.Adam(layer.parameters(), lr=0.01)
    layer(torch.randn(shape)).square().sum().backward()
    adam.step()
    assert (layer.weight - before).detach().abs().median().item() == pytest.approx(0.01, rel=0.05)
    assert before.std().item() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("activate", [False, True])
@pytest.mark.parametrize(
    ("kind", "sizes", "shape"), [(Linear, (256, 256), (64, 256)), (Conv2d, (32, 32, 3), (2, 32, 16, 16))]
)
def test_layers_keep_the_scale(kind, sizes, shape, activate):
    layer = seeded(kind, *sizes, activate=activate)
    assert 0.85 < rms(layer(torch.randn(shape))) < 1.2


@pytest.mark.parametrize(("method", "low", "high"), [("demodulate", 0.3, 1.2), ("adain", 0.8, 2.0)])
def test_untrained_generator_has_activations_of_about_one(method, low, high):
    """Demodulation assumes inputs of unit variance, of which the [1, 3, 3, 1] filter takes some away."""
    config = GeneratorConfig(resolution=64, channel_base=2048, channel_max=128, w_dim=64, z_dim=64, style_method=method)
    generator = seeded(Generator, config)
    spreads = []
    for layer in generator.synthesis.layers:
        layer.register_forward_hook(lambda _module, _inputs, x: spreads.append(x.std().item()))
    with torch.no_grad():
        ws = generator.mapping(torch.randn(4, 64))
        generator.synthesis(ws)
    assert len(spreads) == 9
    assert all(low < spread < high for spread in spreads)
    assert 0.5 < ws.std() < 2


def test_untrained_discriminator_has_activations_of_about_one():
    judge = seeded(Discriminator, DiscriminatorConfig(resolution=64, channel_base=2048, channel_max=128))
    spreads = []
    for block in judge.blocks.values():
        block.register_forward_hook(lambda _module, _inputs, x: spreads.append(rms(x)))
    with torch.no_grad():
        logits = judge(torch.randn(8, 3, 64, 64))
    assert all(0.4 < spread < 1.6 for spread in spreads)
    assert logits.abs().max() < 6


@pytest.mark.parametrize(("clamp", "gain"), [(0.5, 1.0), (0.5, 0.25)])
def test_clamp_limits_before_the_gain(clamp, gain):
    layer = seeded(Conv2d, 4, 4, 3, clamp=clamp, gain=gain)
    assert layer(torch.randn(2, 4, 8, 8) * 100).abs().max().item() == pytest.approx(clamp * gain)
