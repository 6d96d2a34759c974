"""Latents as inversions are: what encoders are trained on, and where preconditioners are measured."""

from __future__ import annotations

import torch
from torch import Tensor

from stylegan.networks.generator import Generator

CROSSOVERS = 0.5  # share of latents whose later layers follow a second w
LAYER_NOISE = 0.1  # of each layer's own deviation from the common w, in standard deviations of w


def random_latents(network: Generator, count: int, spread: float) -> Tensor:
    """ws [count, L, w_dim] as inversions are: from a w, some mixed from two, each layer a little off."""
    first, second = network.sample_w(2 * count, seed=int(torch.randint(2**31, ()))).chunk(2)
    layers = torch.arange(network.num_ws, device=first.device)
    crossover = torch.randint(1, network.num_ws, (count, 1), device=first.device)
    mixed = torch.rand(count, 1, device=first.device) < CROSSOVERS
    keep = (layers < crossover) | ~mixed
    ws = torch.where(keep[:, :, None], first[:, None], second[:, None])
    return ws + torch.randn_like(ws) * (LAYER_NOISE * spread / network.w_dim**0.5)
