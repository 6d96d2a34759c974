"""The preconditioner of inversions: a damped, low-rank Gauss-Newton inverse, measured once for each generator.

The perceptual distance and the squared error of pixels are sums of squares of f(ws) - f(photo). Their Gauss-Newton
matrix is J^T J, where J is the Jacobian of f with respect to ws. Averaged over typical latents, it is a property of the
generator: a few hundred directions of W+ change the picture much, thousands hardly at all. The preconditioner is

    P g = (J^T J + damping * S^-1)^-1 g,

where S is the covariance of w. The damping limits the step, in standard deviations of w, in directions that hardly
change the picture. P turns the gradient g of any photo's loss into a step of about the right length in each direction.

J^T J is never formed. Gradients of random combinations of f have it as their covariance.
docs/preconditioned-inversion.md derives the method.
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
from stylegan.training.seeding import seeded

EVEN = 1e-3  # added to the covariance of w, relative to its largest eigenvalue, to bound its condition number
SMALL = 1e-12  # keeps a network whose w never varies from a singular matrix


@dataclass(frozen=True)
class PreconditionerSettings:
    """How a preconditioner is measured.

    Attributes:
        pictures: number of latents at which it is measured.
        probes: random combinations at each of them.
        rank: number of directions kept, those of the largest curvature.
        pixels: weight of the squared pixel error, relative to the perceptual distance.
        batch: pictures drawn together.
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
        directions: S^(1/2) times orthonormal vectors, [L * D, rank].
        values: curvature along each direction, [rank], descending.
        covariance: S, the covariance of w, [D, D].
        network: the id of the generator.
    """

    directions: Tensor
    values: Tensor
    covariance: Tensor
    network: str

    def to(self, device: torch.device) -> Preconditioner:
        """A copy on a device."""
        tensors = {name: getattr(self, name).to(device) for name in ("directions", "values", "covariance")}
        return dataclasses.replace(self, **tensors)

    def apply(self, gradient: Tensor, damping: float) -> Tensor:
        """(J^T J + damping * S^-1)^-1 times the gradient; both [N, L, D].

        Directions that were not kept are assumed to have the smallest curvature that was kept, so that no step is
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
        settings: None for the defaults.
        on_batch: called with the number of pictures done and their total.

    Raises:
        UsageError: the rank exceeds the dimensions of W+.
    """
    settings = settings or PreconditionerSettings()
    if settings.rank > network.num_ws * network.w_dim:
        raise UsageError(
            f"rank is {settings.rank}; {network.name or 'the network'} has {network.num_ws * network.w_dim} directions."
        )
    device = network.w_avg.device
    backbone = load_backbone().to(device)
    spread = network.w_std()
    gradients = []
    with seeded(settings.seed, 0, device):
        for first in range(0, settings.pictures, settings.batch):
            count = min(settings.batch, settings.pictures - first)
            ws = random_latents(network, count, spread)
            gradients.append(_probe(network, backbone, ws, settings).cpu())
            if on_batch:
                on_batch(first + count, settings.pictures)
        synchronize(device)
    return _strongest(torch.cat(gradients), w_covariance(network), settings.rank, network_id(network))


@torch.no_grad()
def w_covariance(network: Generator) -> Tensor:
    """The covariance of w, float64 [D, D] on the CPU, regularised for a stable Cholesky factorisation."""
    covariance = torch.cov(network.sample_w(W_AVG_SAMPLES, seed=123).cpu().double().t())
    largest = torch.linalg.eigvalsh(covariance)[-1]
    return covariance + torch.eye(len(covariance), dtype=torch.float64) * (EVEN * largest).clamp(min=SMALL)


def _probe(network: Generator, backbone: Backbone, ws: Tensor, settings: PreconditionerSettings) -> Tensor:
    """Gradients of random combinations of features and pixels, [N * probes, L, D]; their covariance is J^T J."""
    ws = ws.requires_grad_(True)
    with torch.enable_grad():
        drawn = network.synthesis(ws)
        features = backbone.normalised(fit_size(drawn))  # at the size at which photos are compared
        gradients: list[Tensor] = []
        for probe in range(settings.probes):
            # The distance is a mean over positions, so each position is weighted by 1 / sqrt(number of positions).
            parts = [
                (feature * torch.randn_like(feature)).sum() / (feature.shape[2] * feature.shape[3]) ** 0.5
                for feature in features
            ]
            share = (settings.pixels / drawn[0].numel()) ** 0.5
            total = torch.stack(parts).sum() + (drawn * torch.randn_like(drawn)).sum() * share
            gradients += torch.autograd.grad(total, ws, retain_graph=probe + 1 < settings.probes)
    return torch.cat(gradients)


def _strongest(gradients: Tensor, covariance: Tensor, rank: int, network: str) -> Preconditioner:
    """The directions of the largest curvature after whitening by S, from probes [M, L, D]."""
    root = torch.linalg.cholesky(covariance)  # S = root root^T
    white = (gradients.double() @ root).flatten(1) * (2 / len(gradients)) ** 0.5  # the Hessian is 2 J^T J
    values, left = torch.linalg.eigh(white @ white.t())  # M x M, which is smaller than the L D x L D of white^T white
    rank = min(rank, int((values > SMALL).sum()))
    values, left = values[-rank:].flip(0), left[:, -rank:].flip(1)
    right = (white.t() @ left) / values.sqrt()  # [L * D, rank], of length 1
    directions = right.t().unflatten(1, gradients.shape[1:]) @ root.t()
    return Preconditioner(directions.flatten(1).t().float().contiguous(), values.float(), covariance.float(), network)
