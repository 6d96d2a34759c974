import dataclasses

import pytest
import torch

from inversion.losses.loss import LossWeights, Target
from inversion.losses.perceptual import load_perceptual
from inversion.losses.style_norm import StyleNorms
from inversion.optim.projector import optimise
from inversion.presets import BALANCED
from stylegan import AliasFreeConfig, Generator, GeneratorConfig

TINY = {"resolution": 16, "z_dim": 8, "w_dim": 8, "mapping_layers": 2, "channel_base": 64, "channel_max": 6}


def network_of(kind):
    torch.manual_seed(0)
    if kind == "alias_free":
        network = Generator(AliasFreeConfig(**TINY, num_layers=4, num_critical=1, margin_size=4))
    else:
        network = Generator(GeneratorConfig(**TINY, style_method=kind))
    for affine, _ in network.synthesis.demodulated:
        affine.bias.data += torch.randn_like(affine.bias) * 0.3
    network.mapping.w_avg.copy_(torch.randn(8))
    return network.eval().requires_grad_(False)


def random_ws(network, count=3):
    return torch.randn(count, network.num_ws, network.w_dim, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ["demodulate", "alias_free"])
def test_strain_is_of_the_lengths_of_the_styles_that_layers_are_given(kind):
    network, seen = network_of(kind), []
    hooks = [
        affine.register_forward_hook(lambda _module, _given, style: seen.append(style.norm(dim=1)))
        for affine, _ in network.synthesis.demodulated
    ]
    ws = random_ws(network)
    network.synthesis(ws)
    lengths, count = torch.stack(seen, dim=1), len(seen)
    seen.clear()
    network.synthesis(network.w_avg.expand(1, network.num_ws, -1))
    for hook in hooks:
        hook.remove()
    assert count == len(hooks)
    shares = lengths / torch.stack(seen, dim=1)
    expected = (shares / 1.5).log().square().mean(dim=1)
    torch.testing.assert_close(StyleNorms(network).penalty(ws, 1.5), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["demodulate", "alias_free"])
def test_a_picture_does_not_show_them(kind):
    network = network_of(kind)
    before = network.synthesis(random_ws(network))
    for affine, _ in network.synthesis.demodulated:
        affine.weight.data *= 3
        affine.bias.data *= 3
    torch.testing.assert_close(network.synthesis(random_ws(network)), before, rtol=1e-3, atol=1e-4)


def test_strain_is_nothing_at_the_wanted_length_alone():
    network = network_of("demodulate")
    lengths = StyleNorms(network)
    average = network.w_avg.expand(2, network.num_ws, -1)
    torch.testing.assert_close(lengths.penalty(average, 1.0), torch.zeros(2))
    torch.testing.assert_close(lengths.penalty(average, 2.0), torch.full((2,), 2.0).log().square())


def test_photos_do_not_see_each_other():
    network = network_of("demodulate")
    lengths, ws = StyleNorms(network), random_ws(network)
    alone = torch.cat([lengths.penalty(one, 1.0) for one in ws.split(1)])
    torch.testing.assert_close(lengths.penalty(ws, 1.0), alone)


def test_a_network_without_demodulation_has_none():
    network = network_of("adain")
    lengths, ws = StyleNorms(network), random_ws(network)
    assert torch.equal(lengths.penalty(ws, 1.0), torch.zeros(3))


@pytest.mark.parametrize("space", ["w+", pytest.param("w", marks=pytest.mark.slow)])
def test_an_optimisation_keeps_to_the_wanted_length(space):
    network = network_of("demodulate")
    photos = network.synthesis(network.sample_w(2, seed=5)[:, None].expand(-1, network.num_ws, -1))
    lengths, found = StyleNorms(network), []
    for weight in (0.0, 3.0):
        settings = dataclasses.replace(
            BALANCED, space=space, num_steps=60, weights=LossWeights(styles=weight), style_norm=1.5
        )
        latents, _ = optimise(network, Target(photos, load_perceptual()), settings, seed=0)
        found.append(lengths.penalty(latents.ws(network.num_ws), 1.5))
    assert (found[1] < found[0] / 2).all()
