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
from inversion.optim.lbfgs import AdamSteps
from inversion.optim.low_rank import Tuned, draw, to_half, tunable
from inversion.optim.optimisation import Latents, learning_rate_factor
from inversion.optim.projector import Progress, Step
from inversion.presets import TuningSettings
from relatent.core.device import Pace, scalar_dtype
from relatent.core.errors import Cancelled
from relatent.core.execution import COMPILE, EAGER, Repeated
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
    execution: str = EAGER,
) -> tuple[list[Tuned], Tensor]:
    """Tune the network to each photo in turn.

    Args:
        network: a frozen generator; it is not changed.
        target: the photos, on the network's device.
        latents: the pivots, one for each photo.
        settings: steps, rates and weights.
        seed: of the initial factors and of the latents of the locality term.
        progress: called after each step of each photo; returning False cancels.
        execution: "eager", "graph" or "compile"; see relatent/core/execution.py.

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
        task = Tuning(network, photo, pivot, settings, spread, seed, execution)
        on_step = None if progress is None else _progress_of_photo(progress, index, len(ws))
        tuned, loss = task.run(on_step)
        results.append(tuned)
        losses.append(loss)
    return results, torch.cat(losses)


class Tuning:
    """The tuning of the network to one photo. As in an optimisation of latents, a step needs nothing from the host."""

    def __init__(
        self,
        network: Generator,
        target: Target,
        pivot: Pivot,
        settings: TuningSettings,
        spread: float,
        seed: int,
        execution: str = EAGER,
    ) -> None:
        self.network, self.target, self.pivot, self.settings = network, target, pivot, settings
        device = network.w_avg.device
        random = torch.Generator().manual_seed(seed + 2)
        self.factors = self._fresh_factors(random)
        self.parameters = [factor for pair in self.factors.values() for factor in pair]
        # On a CPU as it was when the figures of the presets were measured.
        self.adam = AdamSteps(self.parameters, settings.learning_rate, fused=device.type != "cpu")
        self.near = self._near(random, settings.locality_radius * spread)
        total = settings.num_steps
        shares = [(index + 1) / (total + 1) for index in range(total)]  # neither the first nor the last rate is 0
        rates = [learning_rate_factor(share, settings) for share in shares]
        self.rates = torch.tensor(rates, dtype=scalar_dtype(device), device=device)
        self.row = torch.zeros(1, dtype=torch.int64, device=device)  # of the rates, for the next step
        self.near_row = torch.zeros(1, dtype=torch.int64, device=device)  # of the latents of the locality term
        self.repeated = Repeated(device, execution)
        self._synthesis = torch.compile(network.synthesis, dynamic=False) if execution == COMPILE else network.synthesis

    def run(self, progress: Progress | None) -> tuple[Tuned, Tensor]:
        """Run all steps; returns the factors in half precision, and the loss [1] with them."""
        settings, total = self.settings, self.settings.num_steps
        pace = Pace(self.network.w_avg.device)
        for index in range(total):
            local = bool(settings.locality) and index % settings.locality_interval == 0
            losses, drawn = self.repeated.run(self.local_step if local else self.step, self.state, kind=local)
            pace.step_launched()
            if progress and progress(Step(index + 1, total, losses, drawn, stage="tune")) is False:
                raise Cancelled(f"cancelled at step {index + 1} of {total} of the tuning; nothing was written.")
        tuned = to_half(self.factors)
        with torch.no_grad():
            drawn = draw(self.network, self.pivot.ws, self.pivot.noise, tuned, dtype=self.target.dtype)
            return tuned, self.target.terms(drawn, settings.weights)

    def step(self) -> tuple[Tensor, Tensor]:
        """One step without the locality regulariser; the loss [1] and the picture [1, 3, R, R] before it."""
        return self._step(local=False)

    def local_step(self) -> tuple[Tensor, Tensor]:
        """One step with the locality regulariser."""
        return self._step(local=True)

    def state(self) -> list[Tensor]:
        """All that a step changes."""
        return [*self.parameters, *self.adam.state(), self.row, self.near_row]

    def _step(self, local: bool) -> tuple[Tensor, Tensor]:
        # Leaves of this step alone: a captured step must not depend on what another stream has computed.
        leaves = {name: tuple(factor.detach().requires_grad_(True) for factor in pair) for name, pair in self._pairs()}
        drawn = self._draw(self.pivot.ws, leaves)  # type: ignore[arg-type]
        losses = self.target.terms(drawn, self.settings.weights)
        loss = losses.sum()
        if local:
            loss = loss + self.settings.locality * self._drift(leaves)  # type: ignore[arg-type]
        gradients = torch.autograd.grad(loss, [factor for pair in leaves.values() for factor in pair])
        for factor, gradient in zip(self.parameters, gradients, strict=True):
            factor.grad = gradient.contiguous()  # fused Adam takes both to lie alike
        self.adam.step(self.rates.index_select(0, self.row)[0])
        self.row.add_(1)
        return losses.detach(), drawn.detach()

    def _pairs(self) -> list[tuple[str, tuple[Tensor, Tensor]]]:
        return list(self.factors.items())

    def _draw(self, ws: Tensor, factors: Tuned) -> Tensor:
        return draw(self.network, ws, self.pivot.noise, factors, dtype=self.target.dtype)

    def _drift(self, factors: Tuned) -> Tensor:
        """The locality regulariser: distance between the pictures that the tuned and the original network draw."""
        near = self.near.index_select(0, self.near_row)  # [1, L, w_dim]
        self.near_row.add_(1)
        with torch.no_grad():
            dtype = self.target.dtype
            drawn = self._synthesis(near, noise=self.pivot.noise, dtype=dtype)
            before = Target(drawn, self.target.perceptual, dtype=dtype)
        return before.terms(self._draw(near, factors), self.settings.weights).sum()

    @torch.no_grad()
    def _near(self, random: torch.Generator, radius: float) -> Tensor:
        """Where the locality regulariser is evaluated, one ws after the other, [evaluations, L, w_dim].

        At a fixed distance from the pivot, in the direction of a random w (Roich et al. 2021, eq. 4).
        """
        settings, pivot = self.settings, self.pivot.ws
        if not settings.locality:
            return pivot[:0]
        places = []
        for _ in range(0, settings.num_steps, settings.locality_interval):
            seed = int(torch.randint(2**31, (), generator=random))
            direction = self.network.sample_w(1, seed)[:, None] - pivot
            places.append(pivot + radius * direction / direction.norm(dim=2, keepdim=True).clamp(min=1e-8))
        return torch.cat(places)

    def _fresh_factors(self, random: torch.Generator) -> Tuned:
        """A is zero, so that tuning starts from the original network; B is random, or all gradients would be zero."""
        factors: Tuned = {}
        for name, weight in tunable(self.network).items():
            rows, columns = weight.shape[0], weight[0].numel()
            rank = min(self.settings.rank, rows, columns)
            left = torch.zeros(rows, rank, device=weight.device)
            right = torch.randn(rank, columns, generator=random).to(weight.device) / rank**0.5
            factors[name] = (left, right)
        return factors


def _progress_of_photo(progress: Progress, index: int, count: int) -> Callable[[Step], object]:
    """A callback for photo ``index`` of ``count`` that numbers steps through all photos."""

    def show(step: Step) -> object:
        number, total = index * step.total + step.index, count * step.total
        return progress(Step(number, total, step.losses, step.images, step.stage, first=index))

    return show
