"""The preconditioner of inversions: a damped, low-rank Gauss-Newton inverse, measured once for each generator.

The perceptual distance and the squared error of pixels are sums of squares of r(ws) - r(photo). Their Gauss-Newton
matrix is J^T J, where J is the Jacobian of r by ws. Averaged over latents as inversions have them, it is a property of
the generator: a few hundred directions of W+ change the picture much, thousands hardly at all. The preconditioner is

    P g = (J^T J + damping * S^-1)^-1 g,

where S is the covariance of w: the damping limits steps in units of w's own spread, where the picture does not.
It turns the gradient g of any photo's loss into a step of about the right length in each direction.

J^T J is never formed. Random combinations of r, differentiated by ws, have it as their covariance.
docs/preconditioned-inversion.md derives it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from inversion.latent_samples import random_latents
from inversion.losses.perceptual import fit_size
from relatent.core.device import synchronize
from relatent.core.errors import UsageError
from stylegan.bounds import require_number, require_whole
from stylegan.formats.checkpoint import network_id
from stylegan.networks.backbone import Backbone, load_backbone
from stylegan.networks.generator import W_AVG_SAMPLES, Generator
from stylegan.training.trainer import seeded

EVEN = 1e-3  # of the largest variance of w: no direction's is taken to be smaller
SMALL = 1e-12


@dataclass(frozen=True)
class PreconditionerSettings:
    """How a preconditioner is measured.

    Attributes:
        pictures: latents around which it is measured.
        probes: random combinations at each of them.
        rank: directions that are kept, those of the largest curvature.
        pixels: weight of the pixels' squared error beside the perceptual distance.
        batch: pictures at once.
        seed: of everything random.
    """

    pictures: int = 512
    probes: int = 6
    rank: int = 768
    pixels: float = 5.0
    batch: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("pictures", "probes", "rank", "batch"):
            require_whole(name, getattr(self, name), 1, 65536)
        require_number("pixels", self.pixels, 0)


@dataclass(frozen=True)
class Preconditioner:
    """The average Gauss-Newton matrix of a generator whose ws have L layers of D dimensions, low rank.

    Attributes:
        directions: [L * D, rank], of length 1 in units of S.
        values: curvature along each direction, [rank], descending.
        covariance: S of w, [D, D].
        network: the id of the generator.
    """

    directions: Tensor
    values: Tensor
    covariance: Tensor
    network: str

    def to(self, device: torch.device) -> Preconditioner:
        """The same on a device."""
        tensors = {name: getattr(self, name).to(device) for name in ("directions", "values", "covariance")}
        return dataclasses.replace(self, **tensors)

    def apply(self, gradient: Tensor, damping: float) -> Tensor:
        """(J^T J + damping * S^-1)^-1 times the gradient; both [N, L, D].

        Along directions that were not kept the curvature is taken to be the smallest that was, so that no step is
        too long.
        """
        rest = 1 / (self.values[-1] + damping)
        step = (gradient @ self.covariance).flatten(1) * rest
        weights = 1 / (self.values + damping) - rest
        correction = (gradient.flatten(1) @ self.directions * weights) @ self.directions.t()
        return (step + correction).view_as(gradient)


def measure_preconditioner(
    network: Generator,
    settings: PreconditionerSettings | None = None,
    *,
    on_batch: Callable[[int, int], object] | None = None,
) -> Preconditioner:
    """Measure a generator's preconditioner under the embedded backbone.

    Args:
        network: a frozen generator, in evaluation mode, on any device.
        settings: how; None for the defaults.
        on_batch: told how many pictures are done, and of how many.

    Raises:
        UsageError: more directions are wanted than there are.
    """
    settings = settings or PreconditionerSettings()
    if settings.rank > network.num_ws * network.w_dim:
        raise UsageError(
            f"rank is {settings.rank}; {network.name or 'the network'} has {network.num_ws * network.w_dim} directions."
        )
    device = network.w_avg.device
    backbone = load_backbone().to(device)
    spread = network.w_std()
    found = []
    with seeded(settings.seed, 0, device):
        for first in range(0, settings.pictures, settings.batch):
            count = min(settings.batch, settings.pictures - first)
            ws = random_latents(network, count, spread)
            found.append(_probe(network, backbone, ws, settings).cpu())
            if on_batch:
                on_batch(first + count, settings.pictures)
        synchronize(device)
    return _strongest(torch.cat(found), _covariance(network), settings.rank, network_id(network))


def _probe(network: Generator, backbone: Backbone, ws: Tensor, settings: PreconditionerSettings) -> Tensor:
    """Gradients of random combinations of what is compared, [N * probes, L, D]; their mean square is J^T J."""
    ws = ws.requires_grad_(True)
    with torch.enable_grad():
        drawn = network.synthesis(ws)
        features = backbone.normalised(fit_size(drawn))  # at the size at which photos are compared
        gradients: list[Tensor] = []
        for probe in range(settings.probes):
            # The distance is a mean over places, so each place's share is divided by their number's root.
            parts = [
                (feature * torch.randn_like(feature)).sum() / (feature.shape[2] * feature.shape[3]) ** 0.5
                for feature in features
            ]
            share = (settings.pixels / drawn[0].numel()) ** 0.5
            total = torch.stack(parts).sum() + (drawn * torch.randn_like(drawn)).sum() * share
            gradients += torch.autograd.grad(total, ws, retain_graph=probe + 1 < settings.probes)
    return torch.cat(gradients)


@torch.no_grad()
def _covariance(network: Generator) -> Tensor:
    """Of w, float64 [D, D] on the CPU, with no direction so narrow that rounding decides."""
    covariance = torch.cov(network.sample_w(W_AVG_SAMPLES, seed=123).double().cpu().t())
    widest = torch.linalg.eigvalsh(covariance)[-1]
    return covariance + torch.eye(len(covariance), dtype=torch.float64) * (EVEN * widest).clamp(min=SMALL)


def _strongest(gradients: Tensor, covariance: Tensor, rank: int, network: str) -> Preconditioner:
    """The directions of the largest curvature, in units of w's own spread, from probes [M, L, D]."""
    root = torch.linalg.cholesky(covariance)  # S = root root^T
    white = (gradients.double() @ root).flatten(1) * (2 / len(gradients)) ** 0.5  # twice: a square's second derivative
    values, left = torch.linalg.eigh(white @ white.t())  # as many as probes, and not as dimensions
    rank = min(rank, int((values > SMALL).sum()))
    values, left = values[-rank:].flip(0), left[:, -rank:].flip(1)
    right = (white.t() @ left) / values.sqrt()  # [L * D, rank], of length 1
    directions = right.t().unflatten(1, gradients.shape[1:]) @ root.t()
    return Preconditioner(directions.flatten(1).t().float().contiguous(), values.float(), covariance.float(), network)
