"""Optimiser steps of latents and noise maps: Adam for all, or preconditioned L-BFGS for the latents.

The preconditioner (inversion/optim/preconditioner.py) is an average over a generator's latents. The gradients of one
photo's loss correct it during the optimisation: L-BFGS (Liu and Nocedal 1989), with the preconditioner in place of the
multiple of the identity with which the two-loop recursion usually begins. docs/preconditioned-inversion.md derives it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inversion.optim.preconditioner import Preconditioner
from inversion.presets import LbfgsSettings
from relatent.core.device import scalar_dtype

MAX_RISE = 1.05  # a photo's loss may rise by this factor in one step; beyond, the step is rejected
SHRINK = 0.5  # of a photo's step size after a rejected step
GROW = 1.2  # of a reduced step size after each accepted step
MIN_CURVATURE = 1e-3  # along a step, relative to what the preconditioner predicts; below, the pair is not kept
BETAS = (0.9, 0.999)
RHO = 3  # place of rho in a pair


class AdamSteps:
    """Adam on everything that is optimised.

    Args:
        tensors: changed in place; their ``grad`` is what a step reads.
        learning_rate: the highest of the schedule.
        fused: one operator for the whole step; else several, which round otherwise and cannot be captured.
    """

    def __init__(self, tensors: Sequence[Tensor], learning_rate: float, *, fused: bool = True) -> None:
        device = tensors[0].device
        self.learning_rate = learning_rate
        # A tensor, which a captured step reads anew each time. Fused Adam reads float32 on a GPU.
        self.rate = torch.zeros([], device=device, dtype=scalar_dtype(device))
        self.adam = torch.optim.Adam(
            tensors, lr=self.rate, betas=BETAS, fused=fused, capturable=device.type in ("cuda", "xpu")
        )
        # Eager steps of a capturable Adam are meant: those that warm up, and all where no graph is wanted.
        self.adam._warned_capturable_if_run_uncaptured = True

    def step(self, share: Tensor | float, _losses: Tensor | None = None) -> None:
        """One step with ``share`` of the highest learning rate. Reads the tensors' gradients and clears them."""
        self.rate.fill_(share * self.learning_rate)
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)

    def reset(self) -> None:
        """Forget all steps, in the same tensors."""
        for tensor in self.state():
            tensor.zero_()

    def state(self) -> list[Tensor]:
        """What a step changes beside the tensors themselves."""
        return [value for state in self.adam.state.values() for value in state.values()]


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

    def tensors(self) -> tuple[Tensor, ...]:
        return self.w, self.gradient, self.preconditioned, self.losses


class PreconditionedLbfgs:
    """Preconditioned L-BFGS steps for the latents, and Adam for the noise maps.

    Each photo of the batch has a history and a step size of its own. A step after which a photo's loss has risen too
    much is rejected: the photo returns to where it was with half the step size, and the rejected pair stays in its
    history.

    Args:
        w: latents [N, L, w_dim], changed in place.
        noise: the noise maps to optimise; may be empty.
        learning_rate: of the noise maps, the highest of the schedule.
        preconditioner: the network's.
        settings: of the steps.
        uniform: every step after the first does the same operators, so that it can be captured.
    """

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
        self.w, self.preconditioner, self.settings = w, preconditioner, settings
        self.noise = AdamSteps(noise, learning_rate) if noise else None
        self.history = LbfgsHistory(settings.memory, uniform=uniform)
        self.step_size = torch.ones(len(w), device=w.device)
        self.last: Iterate | None = None
        self._kept: Iterate | None = None  # the tensors of ``last``, for the next optimisation

    @torch.no_grad()
    def step(self, share: Tensor | float, losses: Tensor) -> None:
        """One step. Reads the tensors' gradients and clears them; ``losses`` [N] are those before the step."""
        assert self.w.grad is not None
        here = Iterate(self.w.detach().clone(), self.w.grad, self._precondition(self.w.grad), losses.detach())
        if self.last is not None:
            last = self.last
            self.history.add(here.w - last.w, here.gradient - last.gradient, here.preconditioned - last.preconditioned)
            here = self._accepted(here, last)
        self._remember(here)
        direction = self.history.apply(here.gradient, here.preconditioned)
        self.w.copy_(here.w - (self.step_size * share)[:, None, None] * direction)
        self.w.grad = None
        if self.noise:
            self.noise.step(share)

    def reset(self) -> None:
        """Forget all steps, in the same tensors."""
        self.last = None
        self.history.reset()
        self.step_size.fill_(1.0)
        if self.noise:
            self.noise.reset()

    def state(self) -> list[Tensor]:
        """What a step changes beside the tensors themselves."""
        last = [] if self.last is None else self.last.tensors()
        return [self.step_size, *last, *self.history.buffers, *(self.noise.state() if self.noise else [])]

    def _precondition(self, gradient: Tensor) -> Tensor:
        """The step without a history; linear in the gradient."""
        return self.settings.step * self.preconditioner.apply(gradient, self.settings.damping)

    def _accepted(self, here: Iterate, last: Iterate) -> Iterate:
        """``here``, or ``last`` for photos whose loss has risen too much or is not a number; adapts the step size."""
        accepted = here.losses <= last.losses * MAX_RISE
        self.step_size.copy_(torch.where(accepted, (self.step_size * GROW).clamp(max=1.0), self.step_size * SHRINK))
        pairs = ((here.w, last.w), (here.gradient, last.gradient), (here.preconditioned, last.preconditioned))
        w, gradient, preconditioned = (torch.where(accepted[:, None, None], *pair) for pair in pairs)
        return Iterate(w, gradient, preconditioned, torch.where(accepted, here.losses, last.losses))

    def _remember(self, here: Iterate) -> None:
        """Copy ``here`` to where ``last`` always is."""
        if self._kept is None:
            self._kept = Iterate(*(tensor.clone() for tensor in here.tensors()))
        else:
            for kept, tensor in zip(self._kept.tensors(), here.tensors(), strict=True):
                kept.copy_(tensor)
        self.last = self._kept


class LbfgsHistory:
    """The last steps s and changes of the gradient y, each photo's own (Nocedal and Wright 2006, algorithm 7.4).

    The pairs are kept in tensors that stay where they are, the newest last.

    Args:
        memory: number of pairs kept; 0 for none.
        uniform: go through ``memory`` pairs from the first step on; zeros stand for those that are not there yet.

    Attributes:
        buffers: s, y and the preconditioned y [memory, N, L, D], and rho [memory, N]; empty before the first pair.
    """

    def __init__(self, memory: int, *, uniform: bool = False) -> None:
        self.memory, self.uniform = memory, uniform
        self.buffers: tuple[Tensor, ...] = ()
        self.added = 0

    def __len__(self) -> int:
        """Number of pairs that :meth:`apply` goes through."""
        if not self.buffers:
            return 0
        return self.memory if self.uniform else min(self.added, self.memory)

    def pairs(self) -> list[tuple[Tensor, ...]]:
        """s, y, preconditioned y and rho of each pair, the oldest first."""
        places = range(self.memory - len(self), self.memory)
        return [tuple(buffer[place] for buffer in self.buffers) for place in places]

    def reset(self) -> None:
        """Forget all pairs, in the same tensors."""
        self.added = 0
        for index, buffer in enumerate(self.buffers):
            buffer.fill_(float(index == RHO))

    def add(self, s: Tensor, y: Tensor, preconditioned_y: Tensor) -> None:
        """Keep a pair, all [N, L, D]; ``preconditioned_y`` is the preconditioner applied to ``y``.

        Where the curvature s.y is too small (negative, or lost in rounding), zeros are stored instead, which do not
        change the recursion.
        """
        sy = _dot(s, y)
        kept = sy > MIN_CURVATURE * _dot(y, preconditioned_y)
        s, y, preconditioned_y = (torch.where(kept[:, None, None], part, 0.0) for part in (s, y, preconditioned_y))
        self.keep(s, y, preconditioned_y, 1 / torch.where(kept, sy, 1.0))

    def keep(self, *pair: Tensor) -> None:
        """Put a pair, s, y, preconditioned y and rho, behind the others, and drop the oldest."""
        self.added += 1
        if not self.memory:
            return
        if not self.buffers:
            self.buffers = tuple(part.new_zeros(self.memory, *part.shape) for part in pair)
            self.buffers[RHO].fill_(1.0)
        for buffer, part in zip(self.buffers, pair, strict=True):
            buffer.copy_(torch.cat([buffer[1:], part[None]]))

    def apply(self, gradient: Tensor, preconditioned: Tensor) -> Tensor:
        """The two-loop recursion: the approximate inverse Hessian times ``gradient`` [N, L, D].

        ``preconditioned`` is the preconditioner applied to the gradient. The recursion needs the preconditioner
        applied to the result of its first loop. As the preconditioner is linear, that follows from
        ``preconditioned`` and the stored ``preconditioned_y``, so it is applied only once in each step.
        """
        pairs, alphas = self.pairs(), []
        for s, y, preconditioned_y, rho in reversed(pairs):
            alpha = (rho * _dot(s, gradient))[:, None, None]
            gradient, preconditioned = gradient - alpha * y, preconditioned - alpha * preconditioned_y
            alphas.append(alpha)
        direction = preconditioned
        for (s, y, _, rho), alpha in zip(pairs, reversed(alphas), strict=True):
            beta = (rho * _dot(y, direction))[:, None, None]
            direction = direction + (alpha - beta) * s
        return direction


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(dim=1)
