"""The optimiser that teaches the backbone: Muon for the filters, Adam for the biases."""

from __future__ import annotations

import torch
from torch import Tensor

from relatent.core.errors import UsageError
from stylegan.networks.backbone import Backbone

MOMENTUM = 0.95  # as Jordan et al. have it
BIAS_RATE = 0.04  # learning rate of Adam for the biases, relative to that of the filters; found by trial


class Optimizer:
    """Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) for the filters, Adam for the biases.

    Muon replaces the momentum of each convolution's weight by the nearest matrix with orthonormal rows, so that rare
    directions are learned as fast as common ones. In short trials on this task it beat Adam with half the pictures.

    Args:
        student: its filters lie in memory with the channels last.

    Raises:
        UsageError: this PyTorch has no Muon.
    """

    def __init__(self, student: Backbone) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise UsageError(
                f"PyTorch {torch.__version__} has no torch.optim.Muon; training a backbone needs 2.9 or newer. "
                "Upgrade it with: pip install --upgrade torch torchvision"
            )
        named = dict(student.named_parameters())
        self.filters = {name: p for name, p in named.items() if p.ndim == 4}
        self.biases = {name: p for name, p in named.items() if p.ndim == 1}
        # Muon takes matrices only. These are views: what it does to them happens to the filters.
        self.matrices = {name: torch.nn.Parameter(_as_matrix(p.detach())) for name, p in self.filters.items()}
        self.muon = torch.optim.Muon(self.matrices.values(), weight_decay=0.0, momentum=MOMENTUM)
        self.adam = torch.optim.Adam(self.biases.values(), betas=(0.9, 0.99), fused=True)

    @property
    def momentum(self) -> dict[str, Tensor]:
        """Muon's momentum by the filters' names, in their shapes; zero before the first step."""
        state, result = self.muon.state, {}
        for name, filters in self.filters.items():
            kept = state[self.matrices[name]].get("momentum_buffer")
            out, channels, height, width = filters.shape
            result[name] = (
                torch.zeros_like(filters.detach())
                if kept is None
                else kept.view(out, height, width, channels).permute(0, 3, 1, 2)
            )
        return result

    def set_momentum(self, momentum: dict[str, Tensor]) -> None:
        """Go on with what :attr:`momentum` gave."""
        for name, matrix in self.matrices.items():
            self.muon.state[matrix]["momentum_buffer"] = _as_matrix(momentum[name]).clone()

    def step(self, learning_rate: float) -> None:
        for name, filters in self.filters.items():
            assert filters.grad is not None
            self.matrices[name].grad = _as_matrix(filters.grad)
        self.muon.param_groups[0]["lr"] = learning_rate
        self.muon.step()
        self.adam.param_groups[0]["lr"] = learning_rate * BIAS_RATE
        self.adam.step()


def _as_matrix(filters: Tensor) -> Tensor:
    """[out, in, h, w] to [out, h w in], without a copy where channels lie last.

    The order of a row's numbers does not matter to Muon.
    """
    return filters.permute(0, 2, 3, 1).flatten(1)
