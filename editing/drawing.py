"""Drawing many latents in batches, each with its own noise, as `Inversion.tensor` draws one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor

from inversion.inversion import Inversion
from relatent.core.errors import UnknownNameError
from stylegan.networks.generator import Generator
from stylegan.networks.synthesis import NOISE_MODES

SMALL = 256  # px; above it one picture at a time fills a processor and its memory


def draw_many(inversions: Iterable[Inversion], network: Generator, batch_size: int | None = None) -> Iterator[Tensor]:
    """Yields each one's picture, float32 [1, 3, R, R] on the CPU, in order; drawn as they are asked for.

    Args:
        inversions: of one network; may be endless.
        network: theirs.
        batch_size: drawn together; None for what suits the network's size.

    Raises:
        UsageError: an inversion of another network.
    """
    waiting = iter(inversions)
    count = batch_size or (8 if network.resolution <= SMALL else 1)
    while batch := list(islice(waiting, count)):
        yield from _drawn(batch, network)


def own_noise(network: Generator) -> tuple[Tensor, ...] | None:
    """The noise that ``noise=None`` stands for, on the CPU; None for a network that reads none."""
    return tuple(level.detach().float().cpu() for level in network.synthesis.noise_buffers) or None


def with_noise(inversion: Inversion, network: Generator, mode: str, seed: int = 0) -> Inversion:
    """The same latent with other noise, which is then part of it and saved with it.

    Args:
        inversion: a latent of ``network``.
        network: tells how large the noise is.
        mode: "const" keeps what the inversion has, "none" is silence, "random" is drawn from ``seed``.
        seed: of random noise.

    Raises:
        UnknownNameError: another mode.
    """
    if mode not in NOISE_MODES:
        raise UnknownNameError("noise mode", mode, NOISE_MODES)
    noise = own_noise(network)
    if mode == "const" or noise is None:
        return inversion
    if mode == "none":
        return inversion.replace(noise=tuple(torch.zeros_like(level) for level in noise))
    rng = torch.Generator().manual_seed(seed)
    return inversion.replace(noise=tuple(torch.randn(level.shape, generator=rng) for level in noise))


@torch.no_grad()
def _drawn(batch: list[Inversion], network: Generator) -> Iterator[Tensor]:
    own = own_noise(network) or ()
    together = len(batch) > 1 and all(_is_plain(one, network, own) for one in batch)
    if not together:
        yield from (one.tensor(network) for one in batch)
        return
    for one in batch:
        one.check_network(network)
    device = network.w_avg.device
    noise = None
    if any(one.noise is not None for one in batch):
        levels = zip(*(one.noise or own for one in batch), strict=True)
        noise = [torch.cat(level).to(device) for level in levels]  # [N, 1, r, r] for each layer
    ws = torch.cat([one.ws for one in batch]).to(device)  # [N, L, w_dim]
    yield from network.synthesis(ws, noise=noise).cpu().split(1)


def _is_plain(one: Inversion, network: Generator, own: tuple[Tensor, ...]) -> bool:
    """Whether it can share a batch: own weights and masks are for one alone, and what does not fit complains alone."""
    if one.mask is not None or one.tuned or one.ws.shape[1:] != (network.num_ws, network.w_dim):
        return False
    return [level.shape for level in one.noise or own] == [level.shape for level in own]
