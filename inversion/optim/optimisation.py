"""One optimisation of latents and noise maps: its tensors, and the step that changes them.

Everything that a step reads or changes is a tensor that stays where it is, schedule and random numbers included. So a
step needs nothing from the host, and can be captured as a CUDA graph (relatent/core/execution.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inversion.losses.loss import Target, delta_regularisation, noise_regularisation, renormalise
from inversion.losses.style_norm import StyleNorms
from inversion.optim import lbfgs
from inversion.optim.lbfgs import AdamSteps, PreconditionedLbfgs
from inversion.optim.preconditioner import Preconditioner
from inversion.presets import OptimiserSettings, TuningSettings
from relatent.core.device import scalar_dtype
from relatent.core.errors import UsageError
from relatent.core.execution import COMPILE, EAGER, GRAPH, Repeated
from relatent.core.precision import arithmetic
from stylegan.networks.generator import Generator

BLOCK = 64  # steps whose schedule and random numbers are copied to the device together


@dataclass
class Latents:
    """The variables of the optimisation: ``w`` [N, 1 or L, w_dim] and noise maps [N, 1, r, r]."""

    w: Tensor
    noise: list[Tensor]

    def ws(self, num_ws: int) -> Tensor:
        return self.w.expand(-1, num_ws, -1)

    def tensors(self) -> list[Tensor]:
        return [self.w, *self.noise]

    def first(self, count: int) -> Latents:
        """Those of the first photos."""
        return Latents(self.w[:count], [level[:count] for level in self.noise])


class BestSoFar:
    """The latents of each photo's smallest loss, selected without synchronising with the device."""

    def __init__(self, latents: Latents) -> None:
        self.losses = torch.full((len(latents.w),), math.inf, device=latents.w.device)
        self.latents = Latents(latents.w.detach().clone(), [level.detach().clone() for level in latents.noise])

    @torch.no_grad()
    def consider(self, losses: Tensor, latents: Latents, valid: Tensor | None = None) -> None:
        """Store the latents of the photos whose loss is smaller than ever before, if ``valid`` [1] is not False."""
        better = losses < self.losses
        if valid is not None:
            better = better & valid
        self.losses.copy_(torch.where(better, losses, self.losses))
        for kept, new in zip(self.latents.tensors(), latents.tensors(), strict=True):
            chosen = better.view(-1, *[1] * (new.ndim - 1))
            kept.copy_(torch.where(chosen, new, kept))

    @torch.no_grad()
    def reset(self, latents: Latents) -> None:
        """Begin again with ``latents``, in the same tensors."""
        self.losses.fill_(math.inf)
        for kept, new in zip(self.latents.tensors(), latents.tensors(), strict=True):
            kept.copy_(new)

    def state(self) -> list[Tensor]:
        return [self.losses, *self.latents.tensors()]


def learning_rate_factor(share: float, settings: OptimiserSettings | TuningSettings) -> float:
    """The learning rate schedule, linear ramp-up and cosine ramp-down, after a ``share`` (0 to 1) of the steps."""
    down = min(1.0, (1 - share) / settings.lr_rampdown_length) if settings.lr_rampdown_length else 1.0
    up = min(1.0, share / settings.lr_rampup_length) if settings.lr_rampup_length else 1.0
    return (0.5 - 0.5 * math.cos(down * math.pi)) * up


class Schedule:
    """Learning rates, and the noise on the latents, of the next ``BLOCK`` steps, on the device.

    The noise is the same for every photo, so that its index in the batch does not matter. It is drawn on the CPU, so
    that a seed means the same on every device.

    Args:
        like: the latents [N, L, w_dim].
        settings: of the steps.
        spread: standard deviation of w.
    """

    def __init__(self, like: Tensor, settings: OptimiserSettings, spread: float) -> None:
        self.settings, self.spread = settings, spread
        device, dtype = like.device, scalar_dtype(like.device)
        self.row = torch.zeros(1, dtype=torch.int64, device=device)  # of the next step
        self.rates = torch.zeros(BLOCK, dtype=dtype, device=device)
        jittered = settings.initial_noise_factor > 0
        self.strengths = torch.zeros(BLOCK, dtype=dtype, device=device) if jittered else None
        self.jitter = torch.zeros(BLOCK, *like.shape[1:], device=device) if jittered else None
        self.index = 0
        self.random = torch.Generator()

    def reset(self, num_steps: int, seed: int) -> None:
        """Begin again with so many steps."""
        self.num_steps, self.index = num_steps, 0
        self.random.manual_seed(seed + 1)

    def advance(self) -> None:
        """Called by the host before each step: every ``BLOCK`` steps, computes and copies the next ones' rows."""
        if self.index % BLOCK == 0:
            shares = [index / self.num_steps for index in range(self.index, min(self.index + BLOCK, self.num_steps))]
            _fill(self.rates, [learning_rate_factor(share, self.settings) for share in shares])
            if self.strengths is not None and self.jitter is not None:
                strengths = [self._strength(share) for share in shares]
                drawn = [self._draw() for strength in strengths if strength > 0]
                _fill(self.strengths, strengths)
                if drawn:
                    _fill(self.jitter, torch.stack(drawn))
            self.row.zero_()
        self.index += 1

    def now(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """This step's share of the highest learning rate [], strength of the noise [] and noise [1, L, w_dim]."""
        rate = self.rates.index_select(0, self.row)[0]
        if self.strengths is None or self.jitter is None:
            return rate, None, None
        return rate, self.strengths.index_select(0, self.row)[0], self.jitter.index_select(0, self.row)

    def _strength(self, share: float) -> float:
        factor = self.settings.initial_noise_factor
        return self.spread * factor * max(0.0, 1 - share / self.settings.noise_ramp_length) ** 2

    def _draw(self) -> Tensor:
        return torch.randn(self.jitter.shape[1:], generator=self.random)  # type: ignore[union-attr]


class Optimisation:
    """The optimisation of some photos together.

    Args:
        network: a frozen generator, on the target's device.
        target: the photos.
        settings: steps, rates and loss weights.
        preconditioner: the network's, on its device; required if ``settings.lbfgs`` is given.
        execution: "eager", "graph" or "compile".

    Raises:
        UsageError: settings that need a preconditioner, without one or in W.
    """

    def __init__(
        self,
        network: Generator,
        target: Target,
        settings: OptimiserSettings,
        preconditioner: Preconditioner | None = None,
        execution: str = EAGER,
    ) -> None:
        self.network, self.settings, self.preconditioner, self.execution = network, settings, preconditioner, execution
        self.kept_for_more = execution != EAGER  # capturing or compiling pays for more than one batch of photos
        self.target = target.copy() if self.kept_for_more else target
        self.latents = self._empty_latents(len(target.images))
        self.optimiser = self._new_optimiser()
        self.norms = StyleNorms(network) if settings.weights.styles else None
        spread = network.w_std() if settings.initial_noise_factor else 0.0
        self.schedule = Schedule(self.latents.w, settings, spread)
        self.best = BestSoFar(self.latents) if settings.keep_best else None
        self.repeated = Repeated(network.w_avg.device, execution)
        self._draw: Callable[..., Tensor] = network.synthesis
        self._terms: Callable[..., Tensor] = self.target.terms
        if execution == COMPILE:
            self._draw, self._terms = (torch.compile(part, dynamic=False) for part in (self._draw, self._terms))
        self._arithmetic = arithmetic(network.w_avg.device)
        self._first = True

    def fits(
        self,
        network: Generator,
        target: Target,
        settings: OptimiserSettings,
        preconditioner: Preconditioner | None,
        execution: str,
    ) -> bool:
        """Whether this optimisation, with another target, does the same operators as one of these arguments."""
        same = self.network is network and self.preconditioner is preconditioner and self.execution == execution
        same = same and self._arithmetic == arithmetic(network.w_avg.device)
        return same and _steps_aside(self.settings) == _steps_aside(settings) and self.target.is_like(target)

    @torch.no_grad()
    def begin(self, target: Target, num_steps: int, seed: int, start: Tensor | None) -> None:
        """Set everything to the start of an optimisation.

        Args:
            target: the photos.
            num_steps: number of steps.
            seed: of the noise.
            start: ws to start from, [N, L, w_dim]; None for ``w_avg``.
        """
        if self.kept_for_more:
            self.target.load(target)
        network, latents = self.network, self.latents
        if start is None:
            latents.w.copy_(network.w_avg)
        else:
            latents.w.copy_(start if self.settings.space == "w+" else start.mean(dim=1, keepdim=True))
        random = torch.Generator().manual_seed(seed)
        for level, buffer in zip(latents.noise, network.synthesis.noise_buffers, strict=True):
            drawn = torch.randn(buffer.shape, generator=random) if self.settings.optimise_noise else buffer
            level.copy_(drawn)
        self.optimiser.reset()
        self.schedule.reset(num_steps, seed)
        if self.best is not None:
            self.best.reset(latents)
        self._first = True

    def advance(self) -> tuple[Tensor, Tensor]:
        """Do one step; returns the losses [N] and the pictures [N, 3, R, R] before it."""
        self.schedule.advance()
        # L-BFGS has nothing to compare a first step with, and so does less.
        other = self._first and isinstance(self.optimiser, PreconditionedLbfgs)
        repeated = self.repeated
        losses, drawn = repeated.run_eagerly(self.step) if other else repeated.run(self.step, self.state)
        self._first = False
        return losses, drawn

    def step(self) -> tuple[Tensor, Tensor]:
        """One step, on the tensors of this object alone."""
        settings, num_ws = self.settings, self.network.num_ws
        rate, strength, jitter = self.schedule.now()
        # Leaves of this step alone: a captured step must not depend on what another stream has computed.
        leaves = Latents(
            self.latents.w.detach().requires_grad_(True),
            [level.detach().requires_grad_(settings.optimise_noise) for level in self.latents.noise],
        )
        w = leaves.w if strength is None or jitter is None else leaves.w + jitter * strength
        drawn = self._draw(w.expand(-1, num_ws, -1), noise=leaves.noise, dtype=self.target.dtype)
        losses = self._terms(drawn, settings.weights)
        if self.best is not None:
            self.best.consider(losses.detach(), self.latents, None if strength is None else strength == 0)
        self._differentiate(losses + self._regularisers(leaves), leaves)
        self.optimiser.step(rate, losses.detach())
        if settings.optimise_noise:
            renormalise(self.latents.noise)
        self.schedule.row.add_(1)
        return losses.detach(), drawn.detach()

    @torch.no_grad()
    def finish(self) -> tuple[Latents, Tensor]:
        """Evaluate the latents after the last step; the best latents and losses, or the last without keep_best."""
        latents = self.latents
        drawn = self.network.synthesis(latents.ws(self.network.num_ws), noise=latents.noise, dtype=self.target.dtype)
        losses = self.target.terms(drawn, self.settings.weights)
        if self.best is not None:
            self.best.consider(losses, latents)
            latents, losses = self.best.latents, self.best.losses
        if self.kept_for_more:
            return Latents(latents.w.clone(), [level.clone() for level in latents.noise]), losses.clone()
        return latents, losses

    def state(self) -> list[Tensor]:
        """All that a step changes."""
        best = [] if self.best is None else self.best.state()
        return [*self.latents.tensors(), *self.optimiser.state(), *best, self.schedule.row]

    def _differentiate(self, losses: Tensor, leaves: Latents) -> None:
        """Set the gradients of the optimised tensors."""
        optimised = self.latents.tensors() if self.settings.optimise_noise else [self.latents.w]
        gradients = torch.autograd.grad(losses.sum(), leaves.tensors()[: len(optimised)])
        for tensor, gradient in zip(optimised, gradients, strict=True):
            tensor.grad = gradient.contiguous()  # fused Adam takes both to lie alike

    def _regularisers(self, latents: Latents) -> Tensor:
        settings, num_ws = self.settings, self.network.num_ws
        total = latents.w.new_zeros(len(latents.w))
        if settings.optimise_noise and settings.weights.noise and latents.noise:
            total = total + settings.weights.noise * noise_regularisation(latents.noise)
        if settings.space == "w+" and settings.weights.delta:
            total = total + settings.weights.delta * delta_regularisation(latents.w)
        if self.norms is not None:
            total = total + settings.weights.styles * self.norms.penalty(latents.ws(num_ws), settings.style_norm)
        return total

    def _empty_latents(self, count: int) -> Latents:
        network = self.network
        layers = network.num_ws if self.settings.space == "w+" else 1
        noise = [level.new_zeros(count, *level.shape[1:]) for level in network.synthesis.noise_buffers]
        return Latents(network.w_avg.new_zeros(count, layers, network.w_dim), noise)

    def _new_optimiser(self) -> AdamSteps | PreconditionedLbfgs:
        settings, latents = self.settings, self.latents
        noise = latents.noise if settings.optimise_noise else []
        if settings.lbfgs is None:
            return AdamSteps([latents.w, *noise], settings.learning_rate)
        if self.preconditioner is None or settings.space != "w+":
            raise UsageError("these settings need the network's preconditioner, and W+. Use settings without a lbfgs.")
        uniform = self.execution == GRAPH
        return lbfgs.PreconditionedLbfgs(
            latents.w, noise, settings.learning_rate, self.preconditioner, settings.lbfgs, uniform=uniform
        )


def _steps_aside(settings: OptimiserSettings) -> dict[str, Any]:
    """The settings that decide what a step computes, not how many there are."""
    return {**vars(settings), "num_steps": 0}


def _fill(rows: Tensor, values: Tensor | list[float]) -> None:
    values = torch.as_tensor(values, dtype=rows.dtype)
    rows[: len(values)].copy_(values, non_blocking=True)
