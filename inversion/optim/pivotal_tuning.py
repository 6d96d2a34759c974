"""Pivotal tuning: fine-tunes the generator to one photo at a fixed latent, the pivot (Roich et al. 2021).

The convolutions' weights are fixed, and a low-rank update of each is optimised (inversion/optim/low_rank.py). Its few
parameters take little space in a file, and can do little damage to what the network has learned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from inversion.losses.loss import Target
from inversion.optim.low_rank import Tuned, draw, to_half, tunable
from inversion.optim.projector import Latents, Progress, Step, learning_rate_factor
from inversion.presets import TuningSettings
from relatent.core.errors import Cancelled
from stylegan.networks.generator import Generator


@dataclass(frozen=True)
class Pivot:
    """One photo's latents: ws [1, L, w_dim] and its noise maps [1, 1, r, r]."""

    ws: Tensor
    noise: list[Tensor]


def tune(
    network: Generator,
    target: Target,
    latents: Latents,
    settings: TuningSettings,
    *,
    seed: int,
    progress: Progress | None = None,
) -> tuple[list[Tuned], Tensor]:
    """Tune the network to each photo in turn.

    Args:
        network: a frozen generator; it is not changed.
        target: the photos, on the network's device.
        latents: the pivots, one for each photo.
        settings: steps, rates and weights.
        seed: of the initial factors and of the latents of the locality term.
        progress: called at each step of each photo; returning False cancels.

    Returns:
        Each photo's factors, half precision on the CPU, and the losses [N] with them.

    Raises:
        Cancelled: the callback returned False.
    """
    ws = latents.ws(network.num_ws).detach()
    spread = network.w_std()
    results, losses = [], []
    for index, photo in enumerate(target.each()):
        pivot = Pivot(ws[index : index + 1], [level[index : index + 1].detach() for level in latents.noise])
        task = _Tuning(network, photo, pivot, settings, spread, seed)
        on_step = None if progress is None else _progress_of_photo(progress, index, len(ws))
        tuned, loss = task.run(on_step)
        results.append(tuned)
        losses.append(loss)
    return results, torch.cat(losses)


class _Tuning:
    """The tuning of the network to one photo."""

    def __init__(
        self, network: Generator, target: Target, pivot: Pivot, settings: TuningSettings, spread: float, seed: int
    ) -> None:
        self.network, self.target, self.pivot, self.settings = network, target, pivot, settings
        self.random = torch.Generator().manual_seed(seed + 2)
        self.radius = settings.locality_radius * spread
        self.factors = self._fresh_factors()

    def run(self, progress: Progress | None) -> tuple[Tuned, Tensor]:
        """Run all steps; returns the factors in half precision, and the loss [1] with them."""
        settings, total = self.settings, self.settings.num_steps
        adam = torch.optim.Adam([factor for pair in self.factors.values() for factor in pair])
        for index in range(total):
            drawn = self._draw(self.pivot.ws)
            losses = self.target.terms(drawn, settings.weights)
            step = Step(index + 1, total, losses.detach(), drawn.detach(), stage="tune")
            if progress and progress(step) is False:
                raise Cancelled(f"cancelled at step {index + 1} of {total} of the tuning; nothing was written.")
            loss = losses.sum()
            if settings.locality and index % settings.locality_interval == 0:
                loss = loss + settings.locality * self._drift()
            share = (index + 1) / (total + 1)  # neither the first nor the last step has the rate 0
            adam.param_groups[0]["lr"] = settings.learning_rate * learning_rate_factor(share, settings)
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
        tuned = to_half(self.factors)
        with torch.no_grad():
            drawn = draw(self.network, self.pivot.ws, self.pivot.noise, tuned, dtype=self.target.dtype)
            return tuned, self.target.terms(drawn, settings.weights)

    def _draw(self, ws: Tensor) -> Tensor:
        return draw(self.network, ws, self.pivot.noise, self.factors, dtype=self.target.dtype)

    def _drift(self) -> Tensor:
        """The locality regulariser: distance between the pictures that the tuned and the original network draw.

        It is evaluated at a fixed distance from the pivot, in the direction of a random w (Roich et al. 2021, eq. 4).
        """
        seed = int(torch.randint(2**31, (), generator=self.random))
        with torch.no_grad():
            direction = self.network.sample_w(1, seed)[:, None] - self.pivot.ws
            near = self.pivot.ws + self.radius * direction / direction.norm(dim=2, keepdim=True).clamp(min=1e-8)
            dtype = self.target.dtype
            drawn = self.network.synthesis(near, noise=self.pivot.noise, dtype=dtype)
            before = Target(drawn, self.target.perceptual, dtype=dtype)
        return before.terms(self._draw(near), self.settings.weights).sum()

    def _fresh_factors(self) -> Tuned:
        """A is zero, so that tuning starts from the original network; B is random, or all gradients would be zero."""
        factors: Tuned = {}
        for name, weight in tunable(self.network).items():
            rows, columns = weight.shape[0], weight[0].numel()
            rank = min(self.settings.rank, rows, columns)
            left = torch.zeros(rows, rank, device=weight.device)
            right = torch.randn(rank, columns, generator=self.random).to(weight.device) / rank**0.5
            factors[name] = (left.requires_grad_(True), right.requires_grad_(True))
        return factors


def _progress_of_photo(progress: Progress, index: int, count: int) -> Callable[[Step], object]:
    """A callback for photo ``index`` of ``count`` that numbers steps through all photos."""

    def show(step: Step) -> object:
        return progress(Step(index * step.total + step.index, count * step.total, step.losses, step.images, step.stage))

    return show
