"""L-BFGS without a preconditioner, the baseline of benchmarks.convergence."""

from __future__ import annotations

import torch
from torch import Tensor

from inversion.optim.lbfgs import MIN_CURVATURE, LbfgsHistory, PreconditionedLbfgs
from inversion.optim.preconditioner import Preconditioner
from inversion.presets import LbfgsSettings

# The length of L-BFGS's first step, along the gradient, in standard deviations of w per layer. Chosen on six training
# faces from 0.02, 0.05, 0.1, 0.2 and 0.4, which differ by up to 11 % after 40 steps.
FIRST_STEP = 0.05


class PlainHistory(LbfgsHistory):
    """The two-loop recursion with the usual initial matrix, a multiple of the identity (Nocedal and Wright 2006).

    The multiple is s.y / y.y of the newest pair (equation 7.20), each photo's own.

    Args:
        memory: pairs that are kept.
        first: length of a step along the gradient while there is no pair.
    """

    def __init__(self, memory: int, first: float, *, uniform: bool = False) -> None:
        super().__init__(memory, uniform=uniform)
        self.first = first
        self.gamma: Tensor | None = None

    def add(self, s: Tensor, y: Tensor, preconditioned_y: Tensor) -> None:  # noqa: ARG002 - no preconditioner
        assert self.gamma is not None  # a step was taken before
        sy, yy = _dot(s, y), _dot(y, y)
        kept = sy > MIN_CURVATURE * self.gamma * yy
        self.gamma = torch.where(kept, sy / yy.clamp(min=1e-30), self.gamma)
        s, y = (torch.where(kept[:, None, None], part, 0.0) for part in (s, y))
        self.keep(s, y, y, 1 / torch.where(kept, sy, 1.0))

    def apply(self, gradient: Tensor, preconditioned: Tensor) -> Tensor:  # noqa: ARG002 - no preconditioner
        if self.gamma is None:
            self.gamma = self.first / _dot(gradient, gradient).sqrt()
        pairs, alphas = self.pairs(), []
        for s, y, _, rho in reversed(pairs):
            alphas.append((rho * _dot(s, gradient))[:, None, None])
            gradient = gradient - alphas[-1] * y
        direction = self.gamma[:, None, None] * gradient
        for (s, y, _, rho), alpha in zip(pairs, reversed(alphas), strict=True):
            direction = direction + (alpha - (rho * _dot(y, direction))[:, None, None]) * s
        return direction


class PlainLbfgs(PreconditionedLbfgs):
    """L-BFGS without a preconditioner; memory, schedule and step control are those of the preconditioned one."""

    first = FIRST_STEP

    def __init__(
        self,
        w: Tensor,
        noise: list[Tensor],
        learning_rate: float,
        preconditioner: Preconditioner,
        settings: LbfgsSettings,
        *,
        uniform: bool = False,
    ) -> None:
        super().__init__(w, noise, learning_rate, preconditioner, settings, uniform=uniform)
        w_std = float(preconditioner.covariance.trace()) ** 0.5
        self.history = PlainHistory(settings.memory, self.first * w_std * w.shape[1] ** 0.5, uniform=uniform)

    def _precondition(self, gradient: Tensor) -> Tensor:
        return gradient


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(dim=1)
