"""Steps of the projector to be timed: as published projectors write one, and as Relatent does, on the same network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.published import synthesise
from inversion.losses.loss import Target
from inversion.losses.perceptual import PerceptualDistance, load_perceptual
from inversion.optim.preconditioner_file import preconditioner_for
from inversion.optim.projector import optimise
from inversion.pipeline import open_network
from inversion.presets import PAPER, OptimiserSettings
from relatent.core.execution import EAGER
from relatent.core.precision import computing_in
from stylegan import Generator, GeneratorConfig
from stylegan.networks.synthesis import SynthesisNetwork
from weights.embedded import DEFAULT_NETWORK

EMBEDDED_SIZE = 128

Form = Callable[[int], object]  # does so many steps


def network_of(size: int, device: torch.device) -> Generator:
    """The embedded network, or one of published width with random weights, of which time does not depend."""
    if size == EMBEDDED_SIZE:
        return open_network(DEFAULT_NETWORK, str(device))
    torch.manual_seed(0)
    config = GeneratorConfig(resolution=size, channel_base=16384 if size == 256 else 32768, conv_clamp=None)
    return open_network(Generator(config, name=f"random-{size}"), str(device))


def photos_of(size: int, count: int, device: torch.device) -> Tensor:
    """Pictures of noise, [count, 3, size, size]; what they show does not change a step's time."""
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device) * 2 - 1


def ours(
    network: Generator,
    photos: Tensor,
    settings: OptimiserSettings = PAPER,
    precision: str = "float32",
    *,
    execution: str = EAGER,
) -> Form:
    """Relatent's steps for some photos together: :func:`inversion.optim.projector.optimise`.

    A graph is captured, and compiled operators are compiled, in the first steps, and kept for the next ones.
    """
    device = network.w_avg.device
    preconditioner = preconditioner_for(network) if settings.lbfgs else None
    with computing_in(precision, device) as dtype:
        target = Target(photos, load_perceptual("embedded", device), dtype=dtype)

    def form(steps: int) -> object:
        with computing_in(precision, device):
            return optimise(
                network,
                target,
                dataclasses.replace(settings, num_steps=steps),
                seed=0,
                preconditioner=preconditioner,
                execution=execution,
            )

    return form


def published(network: Generator, photo: Tensor) -> Form:
    """The published form's steps for photos, [N, 3, R, R]; published projectors take one."""
    perceptual = load_perceptual("embedded", network.w_avg.device)
    return lambda steps: published_steps(network, photo, perceptual, steps)


def published_steps(network: Generator, photo: Tensor, perceptual: PerceptualDistance, steps: int) -> float:
    """The paper's projector (Karras et al. 2020, appendix D) in the published form; returns the last loss."""
    synthesis = network.synthesis
    assert isinstance(synthesis, SynthesisNetwork)
    with torch.no_grad():
        features = perceptual.features(photo)
    spread = network.w_std()
    w = network.w_avg.detach().repeat(len(photo), 1, 1).requires_grad_(True)
    buffers = [level.expand(len(photo), -1, -1, -1) for level in synthesis.noise_buffers]
    noise = [torch.randn_like(level, memory_format=torch.contiguous_format).requires_grad_(True) for level in buffers]
    adam = torch.optim.Adam([w, *noise], lr=PAPER.learning_rate, betas=(0.9, 0.999))
    loss = float("nan")
    for _ in range(steps):
        jittered = w + torch.randn_like(w) * spread * PAPER.initial_noise_factor
        drawn = synthesise(synthesis, jittered.repeat(1, network.num_ws, 1), noise)
        distance = perceptual.between(perceptual.features(drawn), features).sum()
        total = distance + PAPER.weights.noise * noise_loss(noise)
        adam.zero_grad(set_to_none=True)
        total.backward()
        adam.step()
        loss = float(total.detach())
        with torch.no_grad():
            for level in noise:
                level -= level.mean()
                level *= level.square().mean().rsqrt()
    return loss


def noise_loss(noise: list[Tensor]) -> Tensor:
    """Autocorrelation of every map at every size down to 8."""
    total = torch.zeros([], device=noise[0].device)
    for level in noise:
        while True:
            total = total + (level * torch.roll(level, 1, 3)).mean().square()
            total = total + (level * torch.roll(level, 1, 2)).mean().square()
            if level.shape[2] <= 8:
                break
            level = F.avg_pool2d(level, 2)
    return total
