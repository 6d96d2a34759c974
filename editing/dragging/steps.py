"""Steps of the latents that move handles by a given way and change the picture as little as possible otherwise.

With J = dp/dws the derivative of the handles' places [2N, L * D], d the way that they have yet to go, and P the
preconditioner of inversion, whose inverse measures how much a change of ws changes the picture and leaves the usual
latents, the step solves

    minimise (ws - start)^T P^-1 (ws - start)   such that   J (new - ws) = d.

The solution, with a little Tikhonov damping for handles that contradict each other, is

    new = start + P J^T (J P J^T + damping I)^-1 (d + J (ws - start)).

The published rule moves along -J^T with Adam, without P, and has no measure of a small change.
"""

from __future__ import annotations

import torch
from torch import Tensor

from inversion.optim.preconditioner import Preconditioner, w_covariance
from inversion.optim.preconditioner_file import preconditioner_for
from stylegan.formats.checkpoint import network_id
from stylegan.networks.generator import Generator

CONTRADICTION = 1e-3  # Tikhonov damping of J P J^T, relative to its mean diagonal


def metric_of(network: Generator) -> Preconditioner:
    """The network's preconditioner, or where it has none, the covariance of w alone."""
    found = preconditioner_for(network)
    if found is not None:
        return found
    covariance = w_covariance(network).float().to(network.w_avg.device)
    directions = covariance.new_zeros(network.num_ws * network.w_dim, 1)
    return Preconditioner(directions, covariance.new_ones(1), covariance, network_id(network))


def derivative(places: Tensor, ws: Tensor) -> Tensor:
    """J, the derivative of places [N, 2] in ws [1, L, D]: [2N, L, D]."""
    flat = places.flatten()
    rows = [torch.autograd.grad(flat[i], ws, retain_graph=i + 1 < len(flat))[0] for i in range(len(flat))]
    return torch.cat(rows)


class Stepper:
    """Finds steps from one start.

    Args:
        metric: P.
        start: ws at the start, [1, L, D].
        layers: number of w that may change, the first ones.
        damping: of P, see :meth:`inversion.optim.preconditioner.Preconditioner.apply`.
    """

    def __init__(self, metric: Preconditioner, start: Tensor, layers: int, damping: float) -> None:
        self.metric, self.start, self.layers, self.damping = metric, start, layers, damping

    def apply(self, gradients: Tensor) -> Tensor:
        """P times gradients [M, L, D], restricted to the layers that may change."""
        return self._free(self.metric.apply(self._free(gradients), self.damping))

    @torch.no_grad()
    def step(self, ws: Tensor, jacobian: Tensor, way: Tensor) -> Tensor:
        """The new ws, [1, L, D].

        Args:
            ws: the latents, [1, L, D].
            jacobian: J, [2N, L, D].
            way: that the handles are to go, [N, 2].
        """
        jacobian = self._free(jacobian)
        preconditioned = self.apply(jacobian).flatten(1)  # [2N, L * D]
        moved = jacobian.flatten(1) @ (ws - self.start).flatten()
        weights = self._solved(jacobian.flatten(1) @ preconditioned.t(), way.flatten() + moved)
        return self.start + (weights @ preconditioned).view_as(ws)

    @torch.no_grad()
    def restoring(self, jacobian: Tensor, gradient: Tensor) -> Tensor:
        """The direction along -P gradient that leaves the handles where they are, [1, L, D].

        Args:
            jacobian: J, [2N, L, D].
            gradient: of what is to be restored, [1, L, D].
        """
        jacobian = self._free(jacobian)
        preconditioned = self.apply(jacobian).flatten(1)
        direction = -self.apply(gradient)
        weights = self._solved(jacobian.flatten(1) @ preconditioned.t(), jacobian.flatten(1) @ direction.flatten())
        return direction - (weights @ preconditioned).view_as(direction)

    def _free(self, values: Tensor) -> Tensor:
        kept = torch.arange(values.shape[1], device=values.device) < self.layers
        return values * kept[None, :, None]

    @staticmethod
    def _solved(matrix: Tensor, right: Tensor) -> Tensor:
        mean = matrix.diagonal().mean().clamp(min=1e-20)
        wide = (
            matrix.cpu().double() + torch.eye(len(matrix)) * (CONTRADICTION * mean).cpu().double()
        )  # mps has no double
        return torch.linalg.solve(wide, right.cpu().double()).to(right)
