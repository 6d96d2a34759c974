"""How long styles are: no picture shows it, and every edit feels it.

A style is A w + b, and a demodulated convolution divides its length out again (Karras et al. 2020, eq. 3): twice the
style draws the same picture. So no distance to a photo keeps the length of styles, and steps by preconditioner let it
shrink. But an edit adds to w, and what that adds to a style counts for more the shorter the style is: such faces
overshoot. A mapping network makes styles of nearly one length, whatever z, and on those directions are learnt.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stylegan.networks.generator import Generator

SMALL = 1e-12  # a style of no length has no logarithm


class StyleLengths:
    """The lengths of a network's demodulated styles, all at once: on a GPU each operation costs a launch.

    Args:
        network: whose; one that does not demodulate has none.
    """

    @torch.no_grad()
    def __init__(self, network: Generator) -> None:
        readers = network.synthesis.demodulated
        device, width = network.w_avg.device, network.w_dim
        self.layers = torch.tensor([layer for _, layer in readers], device=device, dtype=torch.long)
        # |A w + b|^2 = w^T (A^T A) w + 2 (A^T b)^T w + b^T b: K small matrices, however many channels there are
        weights = [(affine.weight * affine.weight_gain, affine.bias * affine.lr_multiplier) for affine, _ in readers]
        self.squares = _stacked([a.t() @ a for a, _ in weights], (0, width, width), network.w_avg)  # [K, D, D]
        self.gradients = _stacked([2 * a.t() @ b for a, b in weights], (0, width), network.w_avg)  # [K, D]
        self.rests = _stacked([b @ b for _, b in weights], (0,), network.w_avg)  # [K]
        self.usual = self._squared(network.w_avg.expand(1, network.num_ws, -1))

    def strain(self, ws: Tensor, wanted: float) -> Tensor:
        """Mean squared logarithm of the lengths' shares over the one that is ``wanted``; ws [N, L, w_dim] to [N]."""
        if not len(self.layers):
            return ws.new_zeros(len(ws))
        return ((self._squared(ws) / (self.usual * wanted**2)).log() / 2).square().mean(dim=1)

    def _squared(self, ws: Tensor) -> Tensor:
        w = ws[:, self.layers].transpose(0, 1)  # [K, N, D]
        squared = ((w @ self.squares + self.gradients[:, None]) * w).sum(dim=2).t() + self.rests  # [N, K]
        return squared.clamp(min=SMALL)


def _stacked(parts: list[Tensor], empty: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.stack(parts).to(like.dtype) if parts else like.new_zeros(empty)
