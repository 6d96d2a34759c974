"""The mapping network: from a normal latent z to the intermediate latent w."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from relatent.core.errors import ShapeError, UsageError
from relatent.core.numbers import as_truncation
from stylegan.bounds import require_whole
from stylegan.networks import ops
from stylegan.networks.layers import Linear


class MappingNetwork(nn.Module):
    """Maps z [N, z_dim], and a class c [N, c_dim] if there is one, to ws [N, num_ws, w_dim].

    Karras et al. 2019, sec. 2 and 2020, appendix B.

    Args:
        z_dim: dimensions of z.
        c_dim: number of classes; 0 for an unconditional network.
        w_dim: dimensions of w.
        num_ws: how many layers of the synthesis network read a w.
        num_layers: depth.
        lr_multiplier: learning rate of this network relative to the rest.

    Attributes:
        chosen_class: what is mapped where no class is given; None for none.
    """

    w_avg: Tensor
    chosen_class: int | None = None

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        num_ws: int,
        *,
        num_layers: int = 8,
        lr_multiplier: float = 0.01,
    ) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim, self.num_ws = z_dim, c_dim, w_dim, num_ws
        self.embed = Linear(c_dim, w_dim) if c_dim else None
        widths = [z_dim + (w_dim if c_dim else 0)] + [w_dim] * num_layers
        self.layers = nn.ModuleList(
            Linear(i, o, activate=True, lr_multiplier=lr_multiplier) for i, o in pairwise(widths)
        )
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Tensor:
        """z to ws, with truncation.

        Args:
            z: [N, z_dim], standard normal.
            c: [N, c_dim] one-hot classes; required if and only if the network has classes and none is chosen.
            truncation_psi: 1 leaves w unchanged, 0 gives ``w_avg`` (Karras et al. 2019, appendix B).
            truncation_cutoff: how many of the first layers are truncated; None for all.

        Returns:
            ws, float32 [N, num_ws, w_dim].
        """
        return self.truncate(self.map(z, c), truncation_psi, truncation_cutoff)

    def map(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """z to w: [N, z_dim] (and [N, c_dim]) to [N, w_dim]."""
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ShapeError(f"z has shape {list(z.shape)}; expected [N, {self.z_dim}].")
        if c is None and self.chosen_class is not None:
            c = z.new_zeros(len(z), self.c_dim)
            c[:, self.chosen_class] = 1
        check_classes(c, len(z), self.c_dim)
        x = ops.normalize_second_moment(z.to(self.w_avg.dtype))
        if self.embed is not None and c is not None:
            classes = self.embed(c.to(self.w_avg.dtype))
            x = torch.cat([x, ops.normalize_second_moment(classes)], dim=1)
        for layer in self.layers:
            x = layer(x)
        return x

    def truncate(self, w: Tensor, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """w [N, w_dim] to ws [N, num_ws, w_dim], the first ``cutoff`` layers (None: all) truncated towards w_avg.

        Raises:
            UsageError: ``psi`` is not from -100 to 100, or ``cutoff`` not from 0 to num_ws.
        """
        if cutoff is not None:
            require_whole("truncation_cutoff", cutoff, 0, self.num_ws)
        ws = w[:, None].repeat(1, self.num_ws, 1)
        if psi == 1.0:
            return ws
        count = self.num_ws if cutoff is None else cutoff
        truncated = self.w_avg.lerp(ws[:, :count], as_truncation(psi))
        return torch.cat([truncated, ws[:, count:]], dim=1)


def check_classes(c: Tensor | None, count: int, c_dim: int) -> None:
    """Check that ``c`` is [count, c_dim] in a conditional network, and missing in an unconditional one.

    Raises:
        UsageError: missing, or given to a network without classes.
        ShapeError: of another shape.
    """
    if c is None:
        if c_dim:
            raise UsageError(
                f"this network has {c_dim} classes and none was given. Pass c, one-hot, [N, {c_dim}], or choose one "
                "with of_class."
            )
    elif not c_dim and c.numel():
        raise UsageError("classes were given to a network that has none. Leave c out.")
    elif c.shape != (count, c_dim):
        raise ShapeError(f"c has shape {list(c.shape)}; expected [{count}, {c_dim}].")
