"""The optimiser of the backbone's training: Muon for the filters, Adam for the biases."""

from __future__ import annotations

import torch
from torch import Tensor

from stylegan.networks.backbone import Backbone

MOMENTUM = 0.95
BIAS_RATE = 0.04  # learning rate of Adam for the biases, relative to that of the filters


class Optimizer:
    """Muon (Jordan et al. 2024) for the filters, Adam for the biases.

    Muon replaces the momentum of each convolution's weight by the nearest matrix with orthonormal rows, so that rare
    directions are learned as fast as common ones. In short trials on this task it beat Adam with half the pictures.
    """

    def __init__(self, student: Backbone) -> None:
        named = dict(student.named_parameters())
        self.filters = {name: p for name, p in named.items() if p.ndim == 4}
        self.biases = {name: p for name, p in named.items() if p.ndim == 1}
        self.momentum = {name: torch.zeros_like(p) for name, p in self.filters.items()}
        self.adam = torch.optim.Adam(self.biases.values(), betas=(0.9, 0.99), fused=True)

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        for name, filters in self.filters.items():
            assert filters.grad is not None
            momentum = self.momentum[name].lerp_(filters.grad, 1 - MOMENTUM)
            rows = _orthogonal(filters.grad.lerp(momentum, MOMENTUM).flatten(1))
            scale = max(1.0, rows.shape[0] / rows.shape[1]) ** 0.5
            filters.sub_(rows.view(filters.shape), alpha=learning_rate * scale)
        self.adam.param_groups[0]["lr"] = learning_rate * BIAS_RATE
        self.adam.step()


def _orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """The matrix with its singular values moved to about 1, by a Newton-Schulz iteration in half precision."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).bfloat16()
    x = x / (x.norm() + 1e-12)
    for _ in range(steps):
        gram = x @ x.T
        # Coefficients of Jordan et al.: the quintic iteration takes singular values in (0, 1] to about [0.7, 1.2].
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.T if tall else x).float()
