"""Random ws that resemble those of inversions, to train encoders and to measure preconditioners."""

from __future__ import annotations

import torch
from torch import Tensor

from stylegan.networks.generator import Generator

CROSSOVERS = 0.5  # share of style mixing: samples whose later layers use a second w
LAYER_NOISE = 0.1  # noise added to each layer, in standard deviations of w


def random_latents(network: Generator, count: int, spread: float) -> Tensor:
    """ws [count, L, w_dim] of random w, half of them with style mixing, plus noise in each layer.

    ``spread`` is the network's ``w_std()``.
    """
    first, second = network.sample_w(2 * count, seed=int(torch.randint(2**31, ()))).chunk(2)
    layers = torch.arange(network.num_ws, device=first.device)
    crossover = torch.randint(1, network.num_ws, (count, 1), device=first.device)
    mixed = torch.rand(count, 1, device=first.device) < CROSSOVERS
    keep = (layers < crossover) | ~mixed
    ws = torch.where(keep[:, :, None], first[:, None], second[:, None])
    return ws + torch.randn_like(ws) * (LAYER_NOISE * spread / network.w_dim**0.5)
