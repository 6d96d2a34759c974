"""Draws many inversions in batches, with the same result as `Inversion.tensor` for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from inversion.inversion import Inversion
from relatent.core.errors import UnknownNameError
from relatent.core.numbers import as_whole
from stylegan.networks.generator import Generator
from stylegan.networks.synthesis import NOISE_MODES

SMALL = 256  # px; above, pictures are drawn one at a time to save memory


def draw_many(inversions: Iterable[Inversion], network: Generator, batch_size: int | None = None) -> Iterator[Tensor]:
    """Yields the picture of each inversion, float32 [1, 3, R, R] on the CPU, in order. Batches are drawn lazily.

    Args:
        inversions: of one network; may be infinite.
        network: of the inversions.
        batch_size: pictures drawn together; None for a size that suits the resolution.

    Raises:
        UsageError: an inversion of another network.
    """
    remaining = iter(inversions)
    count = batch_size or (8 if network.resolution <= SMALL else 1)
    while batch := list(islice(remaining, count)):
        yield from _drawn(batch, network)


def own_noise(network: Generator) -> tuple[Tensor, ...] | None:
    """The network's noise maps, which ``noise=None`` stands for, on the CPU; None for a network without noise."""
    return tuple(level.detach().float().cpu() for level in network.synthesis.noise_buffers) or None


def with_noise(inversion: Inversion, network: Generator, mode: str, seed: int = 0) -> Inversion:
    """The inversion with other noise maps, which are stored in it.

    Args:
        inversion: of ``network``.
        network: the generator.
        mode: "const" keeps the noise, "none" sets it to zero, "random" draws it.
        seed: of random noise.

    Raises:
        UnknownNameError: there is no such mode.
    """
    if mode not in NOISE_MODES:
        raise UnknownNameError("noise mode", mode, NOISE_MODES)
    noise = own_noise(network)
    if mode == "const" or noise is None:
        return inversion
    if mode == "none":
        return inversion.replace(noise=tuple(torch.zeros_like(level) for level in noise))
    rng = torch.Generator().manual_seed(as_whole("the seed", seed, -(2**63), 2**63 - 1))
    return inversion.replace(noise=tuple(torch.randn(level.shape, generator=rng) for level in noise))


@torch.no_grad()
def _drawn(batch: list[Inversion], network: Generator) -> Iterator[Tensor]:
    own = network.synthesis.noise_buffers
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
        noise = [torch.cat([part.to(device) for part in level]) for level in levels]  # [N, 1, r, r] for each layer
    ws = torch.cat([one.ws for one in batch]).to(device)  # [N, L, w_dim]
    yield from network.synthesis(ws, noise=noise).cpu().split(1)


def _is_plain(one: Inversion, network: Generator, own: Sequence[Tensor]) -> bool:
    """Whether an inversion can be drawn in a batch: without tuned weights and mask, and with the expected shapes.

    Others are drawn alone, which also raises the error for wrong shapes.
    """
    if one.mask is not None or one.tuned or one.ws.shape[1:] != (network.num_ws, network.w_dim):
        return False
    return [level.shape for level in one.noise or own] == [level.shape for level in own]
