"""How latents and noise move at each step: Adam for all, or Adam for the noise and curvature for the latents."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from inversion.optim.preconditioner import Curvature
from inversion.presets import DescentSettings

RISE = 1.05  # of a photo's loss from one step to the next that is too much
CUT = 0.5  # of its steps then
GROWTH = 1.2  # of steps that were cut, with each that goes well
CERTAIN = 1e-3  # least curvature along a step, against the measured one, that is believed
BETAS = (0.9, 0.999)


class AdamDescent:
    """Adam on everything that is optimised.

    Args:
        tensors: leaf tensors, changed in place.
        learning_rate: at its highest.
    """

    def __init__(self, tensors: list[Tensor], learning_rate: float) -> None:
        self.learning_rate = learning_rate
        self.adam = torch.optim.Adam(tensors, betas=BETAS, fused=True)

    def step(self, share: float, _losses: Tensor | None = None) -> None:
        """One step by the tensors' gradients, which it clears; ``share`` of the highest rate."""
        self.adam.param_groups[0]["lr"] = self.learning_rate * share
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)


@dataclass(frozen=True)
class Place:
    """Where photos stand: w [N, L, w_dim], the slopes of their losses there, the first guess's step, the losses [N]."""

    w: Tensor
    slopes: Tensor
    guess: Tensor
    losses: Tensor


class CurvedDescent:
    """Quasi-Newton steps for the latents, and Adam for the noise.

    The curvature is an average and no photo's own. What a photo's slopes tell on the way corrects it: L-BFGS (Liu and
    Nocedal 1989), whose first guess, commonly a multiple of the identity, is the damped inverse of the average. When a
    photo's loss has leapt up, it goes back to where it was, with shorter steps and what the leap has taught.

    Args:
        w: latents [N, L, w_dim], a leaf, changed in place.
        noise: the noise maps that are optimised; may be none.
        learning_rate: of the noise, at its highest.
        curvature: the network's.
        settings: of the steps.
    """

    def __init__(
        self, w: Tensor, noise: list[Tensor], learning_rate: float, curvature: Curvature, settings: DescentSettings
    ) -> None:
        self.w, self.curvature, self.settings = w, curvature, settings
        self.noise = AdamDescent(noise, learning_rate) if noise else None
        self.secants = Secants(settings.memory)
        self.scale = torch.ones(len(w), device=w.device)
        self.last: Place | None = None

    @torch.no_grad()
    def step(self, share: float, losses: Tensor) -> None:
        """One step by the tensors' gradients, which it clears; ``losses`` [N] are those of where it starts."""
        assert self.w.grad is not None
        here = Place(self.w.detach().clone(), self.w.grad, self._guess(self.w.grad), losses.detach())
        if self.last is not None:
            last = self.last
            self.secants.add(here.w - last.w, here.slopes - last.slopes, here.guess - last.guess)
            here = self._not_worse(here, last)
        self.last = here
        way = self.secants.newton(here.slopes, here.guess)
        self.w.copy_(here.w - (self.scale * share)[:, None, None] * way)
        self.w.grad = None
        if self.noise:
            self.noise.step(share)

    def _guess(self, slopes: Tensor) -> Tensor:
        """The step that the average curvature alone would take; linear in slopes."""
        return self.settings.step * self.curvature.newton(slopes, self.settings.damping)

    def _not_worse(self, here: Place, last: Place) -> Place:
        """Here, or for photos whose loss has leapt up, or is no number, where they were; steps are scaled likewise."""
        well = here.losses <= last.losses * RISE
        self.scale = torch.where(well, (self.scale * GROWTH).clamp(max=1.0), self.scale * CUT)
        pairs = ((here.w, last.w), (here.slopes, last.slopes), (here.guess, last.guess))
        w, slopes, guess = (torch.where(well[:, None, None], *pair) for pair in pairs)
        return Place(w, slopes, guess, torch.where(well, here.losses, last.losses))


class Secants:
    """The last steps and how slopes changed along them, each photo's own (Nocedal and Wright 2006, algorithm 7.4).

    Args:
        count: how many steps are remembered; 0 for none.
    """

    def __init__(self, count: int) -> None:
        self.pairs: deque[tuple[Tensor, Tensor, Tensor, Tensor]] = deque(maxlen=count)

    def add(self, step: Tensor, change: Tensor, guess: Tensor) -> None:
        """Remember a step and the change of slopes along it, [N, L, D]; ``guess`` is the first guess's step for it.

        A photo whose loss does not curve upwards there, as far as rounding lets one see, learns nothing from it.
        """
        curve = _dot(step, change)
        learnt = curve > CERTAIN * _dot(change, guess)
        step, change, guess = (torch.where(learnt[:, None, None], part, 0.0) for part in (step, change, guess))
        self.pairs.append((step, change, guess, 1 / torch.where(learnt, curve, 1.0)))

    def newton(self, slopes: Tensor, way: Tensor) -> Tensor:
        """The inverse curvature times slopes [N, L, D], as the first guess and all that was learnt have it.

        ``way`` is the first guess's step for them. As it is linear, what it would be for slopes that the first of two
        loops has changed follows from its steps for the changes, and the average curvature is not asked again.
        """
        shares = []
        for step, change, guess, weight in reversed(self.pairs):
            share = (weight * _dot(step, slopes))[:, None, None]
            slopes, way = slopes - share * change, way - share * guess
            shares.append(share)
        for (step, change, _, weight), share in zip(self.pairs, reversed(shares), strict=True):
            way = way + (share - (weight * _dot(change, way))[:, None, None]) * step
        return way


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(dim=1)
