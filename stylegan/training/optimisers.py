"""What a step moves: the parameters of both networks by Adam, and the moving average of the generator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from stylegan.networks.discriminator import Discriminator
from stylegan.networks.generator import Generator
from stylegan.training.settings import TrainingSettings


def averaged(generator: Generator) -> Iterator[Tensor]:
    """What the moving average is taken of: parameters, and what BatchNorm has measured."""
    yield from generator.parameters()
    yield from (buffer for name, buffer in generator.named_buffers() if ".running_" in name)


def average_weight(settings: TrainingSettings, images_seen: int) -> float:
    """Weight of the newest generator in the average, whose half-life is ramped up: early weights are soon forgotten."""
    images = settings.ema_kimg * 1000
    if settings.ema_rampup > 0:
        images = min(images, max(images_seen, 1) * settings.ema_rampup)
    return 1 - 0.5 ** (settings.batch / max(images, 1e-8))


def adam(parameters: Iterable[nn.Parameter], learning_rate: float, interval: int | None) -> torch.optim.Adam:
    """Adam with beta1 0; with lazy regularisation every ``interval`` steps, corrected for it (appendix B)."""
    ratio = 1.0 if interval is None else interval / (interval + 1)
    return torch.optim.Adam(parameters, lr=learning_rate * ratio, betas=(0.0, 0.99**ratio), eps=1e-8, fused=True)


def freeze(discriminator: Discriminator, blocks: int) -> None:
    """Let the layers that read pictures, and the first ``blocks`` blocks, not learn (Mo et al. 2020)."""
    discriminator.fromrgb.requires_grad_(False)
    for block in list(discriminator.blocks.values())[:blocks]:
        block.requires_grad_(False)
