"""The style norm regulariser, which keeps the norm of styles near that of the average w.

A style is A w + b. Demodulation divides its norm out (Karras et al. 2020, eq. 3), so twice the style draws the same
picture. The distance to a photo therefore does not constrain the norm, and preconditioned steps tend to shrink it. An
edit adds to w, and changes a style of small norm more than one of large norm, so edits of such faces overshoot. The
mapping network gives styles of nearly constant norm, and directions are learned from those.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stylegan.networks.generator import Generator

SMALL = 1e-12  # lower bound of squared norms, for the logarithm


class StyleNorms:
    """The norms of a network's K demodulated styles, batched because on a GPU every operation costs a kernel launch.

    Args:
        network: the generator; K is 0 if it does not demodulate.
    """

    @torch.no_grad()
    def __init__(self, network: Generator) -> None:
        readers = network.synthesis.demodulated
        device, width = network.w_avg.device, network.w_dim
        self.layers = torch.tensor([layer for _, layer in readers], device=device, dtype=torch.long)
        # |A w + b|^2 = w^T (A^T A) w + 2 (A^T b)^T w + b^T b: K matrices [D, D], independent of the number of channels
        weights = [(affine.weight * affine.weight_gain, affine.bias * affine.lr_multiplier) for affine, _ in readers]
        self.quadratic = _stacked([a.t() @ a for a, _ in weights], (0, width, width), network.w_avg)  # [K, D, D]
        self.linear = _stacked([2 * a.t() @ b for a, b in weights], (0, width), network.w_avg)  # [K, D]
        self.constant = _stacked([b @ b for _, b in weights], (0,), network.w_avg)  # [K]
        self.average = self._squared(network.w_avg.expand(1, network.num_ws, -1))

    def penalty(self, ws: Tensor, norm: float) -> Tensor:
        """Mean over styles of log^2(norm relative to the average w's / ``norm``); ws [N, L, w_dim] to [N]."""
        if not len(self.layers):
            return ws.new_zeros(len(ws))
        return ((self._squared(ws) / (self.average * norm**2)).log() / 2).square().mean(dim=1)

    def _squared(self, ws: Tensor) -> Tensor:
        """Squared norms, [N, K]."""
        w = ws[:, self.layers].transpose(0, 1)  # [K, N, D]
        squared = ((w @ self.quadratic + self.linear[:, None]) * w).sum(dim=2).t() + self.constant
        return squared.clamp(min=SMALL)


def _stacked(parts: list[Tensor], empty: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.stack(parts).to(like.dtype) if parts else like.new_zeros(empty)
