"""The projector: optimises latents and noise maps to match photos (Karras et al. 2020, appendix D).

Photos of a batch are independent: losses are summed, steps are each photo's own, and all start from the same noise.
Only rounding depends on the batch size, and the steps amplify it (docs/project.md, batches).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inversion.losses.loss import Target, delta_regularisation, noise_regularisation, renormalise
from inversion.losses.style_norm import StyleNorms
from inversion.optim.lbfgs import AdamSteps, PreconditionedLbfgs
from inversion.optim.preconditioner import Preconditioner
from inversion.presets import OptimiserSettings, TuningSettings
from relatent.core.errors import Cancelled, CheckpointError, UsageError
from stylegan.networks.generator import Generator


@dataclass(frozen=True)
class Step:
    """One step, as passed to a progress callback. Tensors are on the device, so reading them synchronises with it.

    Attributes:
        index: 1 for the first.
        total: number of steps.
        losses: this step's distance to each photo, [N].
        images: the pictures drawn at this step, [N, 3, R, R].
        stage: "optimise" or "tune".
    """

    index: int
    total: int
    losses: Tensor
    images: Tensor
    stage: str = "optimise"


Progress = Callable[[Step], object]


@dataclass
class Latents:
    """The variables of the optimisation: ``w`` [N, 1 or L, w_dim] and noise maps [N, 1, r, r]."""

    w: Tensor
    noise: list[Tensor]

    def ws(self, num_ws: int) -> Tensor:
        return self.w.expand(-1, num_ws, -1)


class BestSoFar:
    """The latents of each photo's smallest loss, selected without synchronising with the device."""

    def __init__(self, latents: Latents) -> None:
        self.losses = torch.full((len(latents.w),), math.inf, device=latents.w.device)
        self.latents = Latents(latents.w.detach().clone(), [level.detach().clone() for level in latents.noise])

    @torch.no_grad()
    def consider(self, losses: Tensor, latents: Latents) -> None:
        """Store the latents of the photos whose loss is smaller than ever before."""
        better = losses < self.losses
        self.losses = torch.where(better, losses, self.losses)
        self.latents.w = torch.where(better[:, None, None], latents.w, self.latents.w)
        self.latents.noise = [
            torch.where(better[:, None, None, None], new, old)
            for new, old in zip(latents.noise, self.latents.noise, strict=True)
        ]


def optimise(
    network: Generator,
    target: Target,
    settings: OptimiserSettings,
    *,
    seed: int,
    start: Tensor | None = None,
    preconditioner: Preconditioner | None = None,
    progress: Progress | None = None,
) -> tuple[Latents, Tensor]:
    """Fit latents and noise to the target's photos.

    Args:
        network: a frozen generator, on the target's device.
        target: the photos.
        settings: steps, rates and loss weights.
        seed: of the noise; every photo gets the same, so that its index in the batch does not matter.
        start: ws to start from, [N, L, w_dim]; None for ``w_avg``.
        preconditioner: the network's, on its device; required if ``settings.lbfgs`` is given.
        progress: called at each step; returning False cancels.

    Returns:
        The latents and each photo's loss, [N].

    Raises:
        Cancelled: the callback returned False.
        CheckpointError: the loss is not finite, which happens only with a damaged network.
    """
    count = len(target.images)
    latents = _initial(network, settings, count, seed, start)
    optimiser = _optimiser(latents, settings, preconditioner)
    norms = StyleNorms(network) if settings.weights.styles else None
    spread = network.w_std() if settings.initial_noise_factor else 0.0
    jitter = _JitterSource(latents.w, seed)
    best = BestSoFar(latents)
    for index in range(settings.num_steps):
        share = index / settings.num_steps
        strength = spread * settings.initial_noise_factor * max(0.0, 1 - share / settings.noise_ramp_length) ** 2
        w = latents.w + jitter.draw() * strength if strength > 0 else latents.w
        drawn = network.synthesis(w.expand(-1, network.num_ws, -1), noise=latents.noise, dtype=target.dtype)
        losses = target.terms(drawn, settings.weights)
        if strength == 0 and settings.keep_best:
            best.consider(losses.detach(), latents)
        if progress and progress(Step(index + 1, settings.num_steps, losses.detach(), drawn.detach())) is False:
            raise Cancelled(f"cancelled at step {index + 1} of {settings.num_steps}; nothing was written.")
        (losses + _regularisers(latents, settings, norms, network.num_ws)).sum().backward()
        optimiser.step(learning_rate_factor(share, settings), losses.detach())
        if settings.optimise_noise:
            renormalise(latents.noise)
    latents, losses = _finish(network, target, settings, latents, best)
    if not bool(losses.isfinite().all()):
        raise CheckpointError("the network draws values that are not finite. Use another checkpoint of it.")
    return latents, losses


def learning_rate_factor(share: float, settings: OptimiserSettings | TuningSettings) -> float:
    """The learning rate schedule, linear ramp-up and cosine ramp-down, after a ``share`` (0 to 1) of the steps."""
    down = min(1.0, (1 - share) / settings.lr_rampdown_length) if settings.lr_rampdown_length else 1.0
    up = min(1.0, share / settings.lr_rampup_length) if settings.lr_rampup_length else 1.0
    return (0.5 - 0.5 * math.cos(down * math.pi)) * up


def _optimiser(
    latents: Latents, settings: OptimiserSettings, preconditioner: Preconditioner | None
) -> AdamSteps | PreconditionedLbfgs:
    noise = latents.noise if settings.optimise_noise else []
    if settings.lbfgs is None:
        return AdamSteps([latents.w, *noise], settings.learning_rate)
    if preconditioner is None or settings.space != "w+":
        raise UsageError("these settings need the network's preconditioner, and W+. Use settings without a lbfgs.")
    return PreconditionedLbfgs(latents.w, noise, settings.learning_rate, preconditioner, settings.lbfgs)


class _JitterSource:
    """Noise for the latents, the same for every photo, so that its index in the batch does not matter."""

    def __init__(self, like: Tensor, seed: int) -> None:
        self.like = like
        self.random = torch.Generator().manual_seed(seed + 1)

    def draw(self) -> Tensor:
        noise = torch.randn(1, *self.like.shape[1:], generator=self.random)
        return noise.to(self.like.device, non_blocking=True)


def _initial(network: Generator, settings: OptimiserSettings, count: int, seed: int, start: Tensor | None) -> Latents:
    layers = network.num_ws if settings.space == "w+" else 1
    if start is None:
        w = network.w_avg.expand(count, layers, -1).clone()
    else:
        w = (start if settings.space == "w+" else start.mean(dim=1, keepdim=True)).clone()
    noise = network.synthesis.noise_buffers
    if settings.optimise_noise:
        random = torch.Generator().manual_seed(seed)
        noise = [torch.randn(level.shape, generator=random).to(level.device) for level in noise]
    noise = [level.expand(count, -1, -1, -1).clone() for level in noise]
    w.requires_grad_(True)
    for level in noise:
        level.requires_grad_(settings.optimise_noise)
    return Latents(w, noise)


def _regularisers(latents: Latents, settings: OptimiserSettings, norms: StyleNorms | None, num_ws: int) -> Tensor:
    total = latents.w.new_zeros(len(latents.w))
    if settings.optimise_noise and settings.weights.noise:
        total = total + settings.weights.noise * noise_regularisation(latents.noise)
    if settings.space == "w+" and settings.weights.delta:
        total = total + settings.weights.delta * delta_regularisation(latents.w)
    if norms is not None:
        total = total + settings.weights.styles * norms.penalty(latents.ws(num_ws), settings.style_norm)
    return total


@torch.no_grad()
def _finish(
    network: Generator, target: Target, settings: OptimiserSettings, latents: Latents, best: BestSoFar
) -> tuple[Latents, Tensor]:
    """Evaluate the latents after the last step; returns the best latents and losses, or the last without keep_best."""
    last = Latents(latents.w.detach(), [level.detach() for level in latents.noise])
    drawn = network.synthesis(last.ws(network.num_ws), noise=last.noise, dtype=target.dtype)
    losses = target.terms(drawn, settings.weights)
    if not settings.keep_best:
        return last, losses
    best.consider(losses, last)
    return best.latents, best.losses


def split(latents: Latents, num_ws: int) -> Sequence[tuple[Tensor, tuple[Tensor, ...]]]:
    """Each photo's ws [1, L, w_dim] and noise maps [1, 1, r, r], on the CPU."""
    ws = latents.ws(num_ws).detach().cpu()
    noise = [level.detach().cpu() for level in latents.noise]
    return [
        (ws[i : i + 1].contiguous(), tuple(level[i : i + 1].contiguous() for level in noise)) for i in range(len(ws))
    ]
