"""Small generators, and pictures to compare."""

from __future__ import annotations

import dataclasses

import torch

from stylegan import Generator, GeneratorConfig

SMALL = GeneratorConfig(resolution=16, z_dim=8, w_dim=12, mapping_layers=2, channel_base=128, channel_max=8)


def make(**changes):
    """A frozen generator of 16 px with noise; keywords change its configuration."""
    torch.manual_seed(0)
    generator = Generator(dataclasses.replace(SMALL, **changes)).eval().requires_grad_(False)
    for layer in generator.synthesis.layers:
        layer.noise_strength.fill_(0.3)
    return generator


def draw(generator, count=2, seed=0):
    """ws of random z."""
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    return generator.mapping(z)


def relative(found, expected):
    """The largest difference as a share of the largest value."""
    return ((found - expected).abs().max() / expected.abs().max()).item()
