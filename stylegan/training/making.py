"""New networks for a run, or for a stage of it."""

from __future__ import annotations

import dataclasses

import torch

from stylegan.networks.discriminator import Discriminator
from stylegan.networks.generator import Generator
from stylegan.networks.mlp import MlpDiscriminator, MlpDiscriminatorConfig
from stylegan.training.seeding import seeded
from stylegan.training.settings import TrainingSettings


def make_networks(
    settings: TrainingSettings, side: int, device: torch.device
) -> tuple[Generator, Discriminator | MlpDiscriminator]:
    """A generator and a discriminator with random weights.

    Args:
        settings: of the run.
        side: resolution; a progressive run has several.
        device: of the weights, which the seed determines on the CPU.
    """
    first = settings.progressive is None or side == settings.progressive.start
    grown = bool(settings.growth) or not first
    with seeded(settings.seed, -1 if first else -side, device):
        sizes = dataclasses.replace(settings.generator, resolution=side)
        generator = Generator(sizes, alignment=settings.alignment, name=settings.name)
        config = dataclasses.replace(settings.discriminator, resolution=side)
        if isinstance(config, MlpDiscriminatorConfig):
            return generator.to(device), MlpDiscriminator(config).to(device)
        discriminator = Discriminator(config, grown=grown)
    if grown:
        generator.synthesis.fade = torch.zeros([])
    return generator.to(device), discriminator.to(device)
