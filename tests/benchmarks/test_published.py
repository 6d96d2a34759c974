"""The yardstick computes what Relatent computes, or a comparison of their speeds would mean nothing."""

import dataclasses

import pytest
import torch

from benchmarks.published import PublishedTrainer, judge, synthesise
from stylegan import Discriminator, DiscriminatorConfig, GeneratorConfig
from stylegan.training.loss import GanLossWeights
from stylegan.training.settings import TrainingSettings

SIZES = {"resolution": 16, "channel_base": 128, "channel_max": 8, "conv_clamp": None}


def test_draws_the_same(tiny_generator):
    network = tiny_generator.synthesis
    with torch.no_grad():
        for layer in network.layers:
            layer.noise_strength.fill_(0.3)
            layer.bias.normal_()
    ws = torch.randn(3, tiny_generator.num_ws, tiny_generator.w_dim)
    noise = [torch.randn(3, 1, layer.resolution, layer.resolution) for layer in network.layers]
    torch.testing.assert_close(synthesise(network, ws, noise), network(ws, noise=noise), rtol=1e-4, atol=1e-5)


def test_judges_the_same():
    torch.manual_seed(0)
    network = Discriminator(DiscriminatorConfig(**SIZES))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    images = torch.randn(8, 3, 16, 16)
    torch.testing.assert_close(judge(network, images), network(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gamma", [0, 0.1])
def test_a_step_moves_both_networks(gamma):
    settings = TrainingSettings(
        data="nowhere",
        data_folder=None,
        name="tiny",
        generator=GeneratorConfig(z_dim=8, w_dim=12, mapping_layers=2, **SIZES),
        discriminator=DiscriminatorConfig(**SIZES),
        loss_weights=GanLossWeights(r1_gamma=gamma, r1_interval=1),
        batch=4,
    )
    images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
    trainer = PublishedTrainer(dataclasses.replace(settings, augment_strength=0.0), images, None, torch.device("cpu"))
    before = [p.detach().clone() for n in (trainer.generator, trainer.discriminator) for p in n.parameters()]
    trainer.run_tick(8)
    after = [p for n in (trainer.generator, trainer.discriminator) for p in n.parameters()]
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))
