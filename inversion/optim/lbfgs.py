"""Optimiser steps of latents and noise maps: Adam for all, or preconditioned L-BFGS for the latents.

The preconditioner (inversion/optim/preconditioner.py) is an average over a generator's latents. The gradients of one
photo's loss correct it during the optimisation: L-BFGS (Liu and Nocedal 1989), with the preconditioner in place of the
multiple of the identity with which the two-loop recursion usually begins. docs/preconditioned-inversion.md derives it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from inversion.optim.preconditioner import Preconditioner
from inversion.presets import LbfgsSettings

MAX_RISE = 1.05  # a photo's loss may rise by this factor in one step; beyond, the step is rejected
SHRINK = 0.5  # of a photo's step size after a rejected step
GROW = 1.2  # of a reduced step size after each accepted step
MIN_CURVATURE = 1e-3  # along a step, relative to what the preconditioner predicts; below, the pair is not kept
BETAS = (0.9, 0.999)


class AdamSteps:
    """Adam on everything that is optimised.

    Args:
        tensors: leaf tensors, changed in place.
        learning_rate: the highest of the schedule.
    """

    def __init__(self, tensors: list[Tensor], learning_rate: float) -> None:
        self.learning_rate = learning_rate
        self.adam = torch.optim.Adam(tensors, betas=BETAS, fused=True)

    def step(self, share: float, _losses: Tensor | None = None) -> None:
        """One step with ``share`` of the highest learning rate. Reads the tensors' gradients and clears them."""
        self.adam.param_groups[0]["lr"] = self.learning_rate * share
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)


@dataclass(frozen=True)
class Iterate:
    """The photos' latents at one step, with gradients and losses.

    Attributes:
        w: [N, L, w_dim].
        gradient: of each photo's loss with respect to ``w``.
        preconditioned: the preconditioner applied to ``gradient``.
        losses: [N].
    """

    w: Tensor
    gradient: Tensor
    preconditioned: Tensor
    losses: Tensor


class PreconditionedLbfgs:
    """Preconditioned L-BFGS steps for the latents, and Adam for the noise maps.

    Each photo of the batch has a history and a step size of its own. A step after which a photo's loss has risen too
    much is rejected: the photo returns to where it was with half the step size, and the rejected pair stays in its
    history.

    Args:
        w: latents [N, L, w_dim], a leaf, changed in place.
        noise: the noise maps to optimise; may be empty.
        learning_rate: of the noise maps, the highest of the schedule.
        preconditioner: the network's.
        settings: of the steps.
    """

    def __init__(
        self,
        w: Tensor,
        noise: list[Tensor],
        learning_rate: float,
        preconditioner: Preconditioner,
        settings: LbfgsSettings,
    ) -> None:
        self.w, self.preconditioner, self.settings = w, preconditioner, settings
        self.noise = AdamSteps(noise, learning_rate) if noise else None
        self.history = LbfgsHistory(settings.memory)
        self.step_size = torch.ones(len(w), device=w.device)
        self.last: Iterate | None = None

    @torch.no_grad()
    def step(self, share: float, losses: Tensor) -> None:
        """One step. Reads the tensors' gradients and clears them; ``losses`` [N] are those before the step."""
        assert self.w.grad is not None
        here = Iterate(self.w.detach().clone(), self.w.grad, self._precondition(self.w.grad), losses.detach())
        if self.last is not None:
            last = self.last
            self.history.add(here.w - last.w, here.gradient - last.gradient, here.preconditioned - last.preconditioned)
            here = self._accepted(here, last)
        self.last = here
        direction = self.history.apply(here.gradient, here.preconditioned)
        self.w.copy_(here.w - (self.step_size * share)[:, None, None] * direction)
        self.w.grad = None
        if self.noise:
            self.noise.step(share)

    def _precondition(self, gradient: Tensor) -> Tensor:
        """The step without a history; linear in the gradient."""
        return self.settings.step * self.preconditioner.apply(gradient, self.settings.damping)

    def _accepted(self, here: Iterate, last: Iterate) -> Iterate:
        """``here``, or ``last`` for photos whose loss has risen too much or is not a number; adapts the step size."""
        accepted = here.losses <= last.losses * MAX_RISE
        self.step_size = torch.where(accepted, (self.step_size * GROW).clamp(max=1.0), self.step_size * SHRINK)
        pairs = ((here.w, last.w), (here.gradient, last.gradient), (here.preconditioned, last.preconditioned))
        w, gradient, preconditioned = (torch.where(accepted[:, None, None], *pair) for pair in pairs)
        return Iterate(w, gradient, preconditioned, torch.where(accepted, here.losses, last.losses))


class LbfgsHistory:
    """The last steps s and changes of the gradient y, each photo's own (Nocedal and Wright 2006, algorithm 7.4).

    Args:
        memory: number of pairs kept; 0 for none.
    """

    def __init__(self, memory: int) -> None:
        self.pairs: deque[tuple[Tensor, Tensor, Tensor, Tensor]] = deque(maxlen=memory)

    def add(self, s: Tensor, y: Tensor, preconditioned_y: Tensor) -> None:
        """Keep a pair, all [N, L, D]; ``preconditioned_y`` is the preconditioner applied to ``y``.

        Where the curvature s.y is too small (negative, or lost in rounding), zeros are stored instead, which do not
        change the recursion.
        """
        sy = _dot(s, y)
        kept = sy > MIN_CURVATURE * _dot(y, preconditioned_y)
        s, y, preconditioned_y = (torch.where(kept[:, None, None], part, 0.0) for part in (s, y, preconditioned_y))
        self.pairs.append((s, y, preconditioned_y, 1 / torch.where(kept, sy, 1.0)))

    def apply(self, gradient: Tensor, preconditioned: Tensor) -> Tensor:
        """The two-loop recursion: the approximate inverse Hessian times ``gradient`` [N, L, D].

        ``preconditioned`` is the preconditioner applied to the gradient. The recursion needs the preconditioner
        applied to the result of its first loop. As the preconditioner is linear, that follows from
        ``preconditioned`` and the stored ``preconditioned_y``, so it is applied only once in each step.
        """
        alphas = []
        for s, y, preconditioned_y, rho in reversed(self.pairs):
            alpha = (rho * _dot(s, gradient))[:, None, None]
            gradient, preconditioned = gradient - alpha * y, preconditioned - alpha * preconditioned_y
            alphas.append(alpha)
        direction = preconditioned
        for (s, y, _, rho), alpha in zip(self.pairs, reversed(alphas), strict=True):
            beta = (rho * _dot(y, direction))[:, None, None]
            direction = direction + (alpha - beta) * s
        return direction


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(dim=1)
