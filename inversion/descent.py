"""How latents and noise move at each step: Adam for all, or Adam for the noise and curvature for the latents."""

from __future__ import annotations

import torch
from torch import Tensor

from inversion.curvature import Curvature
from inversion.settings import DescentSettings

GROWTH = 1.02  # of a photo's step while its loss falls, or rises a little, as momentum makes it
RISE = 1.2  # of the loss from one step to the next that is too much
CUT = 0.5  # of the step then
BETAS = (0.9, 0.999)


class AdamDescent:
    """Adam on everything that is optimised.

    Args:
        tensors: leaf tensors, changed in place.
        learning_rate: at its highest.
    """

    def __init__(self, tensors: list[Tensor], learning_rate: float) -> None:
        self.learning_rate = learning_rate
        self.adam = torch.optim.Adam(tensors, betas=BETAS)

    def step(self, share: float, _losses: Tensor | None = None) -> None:
        """One step by the tensors' gradients, which it clears; ``share`` of the highest rate."""
        self.adam.param_groups[0]["lr"] = self.learning_rate * share
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)


class CurvedDescent:
    """Damped Newton steps with momentum for the latents, and Adam for the noise.

    The curvature is an average and no photo's own. So every photo's steps grow while all goes well; when its loss has
    leapt up, they are halved and the momentum, which led there, is forgotten.

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
        self.velocity = torch.zeros_like(w)
        self.scale = torch.ones(len(w), device=w.device)
        self.last: Tensor | None = None

    @torch.no_grad()
    def step(self, share: float, losses: Tensor) -> None:
        """One step by the tensors' gradients, which it clears; ``losses`` [N] are those of where it starts."""
        if self.last is not None:
            worse = losses > self.last * RISE
            self.scale = torch.where(worse, self.scale * CUT, self.scale * GROWTH)
            self.velocity = torch.where(worse[:, None, None], 0.0, self.velocity)
        self.last = losses.detach()
        assert self.w.grad is not None
        newton = self.curvature.newton(self.w.grad, self.settings.damping)
        length = self.scale[:, None, None] * (self.settings.step * share)
        self.velocity = self.settings.momentum * self.velocity - length * newton
        self.w += self.velocity
        self.w.grad = None
        if self.noise:
            self.noise.step(share)
