"""How the distance to a photo bends around a generator's latents, and steps that know it.

The perceptual distance and the squared error of pixels are sums of squares, so that J^T J, J being the derivative of
what is compared by ws, is their curvature (Gauss and Newton's approximation). Averaged over latents as inversions have
them, it is a property of the generator: a few hundred directions of W+ change the picture much, thousands hardly at
all. Measured once, it turns the slope of any photo's distance into a step of the right length in each direction, where
an optimiser that knows nothing must feel its way: a damped Newton step, (J^T J + damping * S^-1)^-1 slope. S is the
covariance of w, so that where the picture does not say, plausible latents are preferred (the prior of a Gaussian).

J^T J is never formed. Random combinations of what is compared, differentiated by ws, have it as their covariance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from inversion.latent_samples import random_latents
from relatent.core.device import synchronize
from relatent.core.errors import UsageError
from stylegan.bounds import require_number, require_whole
from stylegan.formats.checkpoint import network_id
from stylegan.networks.backbone import Trunk, load_trunk
from stylegan.networks.generator import W_AVG_SAMPLES, Generator
from stylegan.training.trainer import seeded

EVEN = 1e-3  # of the largest variance of w: no direction's is taken to be smaller
SMALL = 1e-12


@dataclass(frozen=True)
class CurvatureSettings:
    """How a curvature is measured.

    Attributes:
        pictures: latents around which it is measured.
        probes: random combinations at each of them.
        rank: directions that are kept, those of the strongest curvature.
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
class Curvature:
    """The average curvature around a generator's latents, whose ws have L layers of D dimensions.

    Attributes:
        directions: [L * D, rank], of length 1 where w varies by S.
        values: curvature along each, [rank], descending.
        covariance: S of w, [D, D].
        network: the id of the generator.
    """

    directions: Tensor
    values: Tensor
    covariance: Tensor
    network: str

    def to(self, device: torch.device) -> Curvature:
        """The same on a device."""
        tensors = {name: getattr(self, name).to(device) for name in ("directions", "values", "covariance")}
        return dataclasses.replace(self, **tensors)

    def newton(self, slopes: Tensor, damping: float) -> Tensor:
        """(J^T J + damping * S^-1)^-1 times slopes; both [N, L, D].

        Along directions that were not kept the curvature counts as the least of those that were: no step is too long.
        """
        least = 1 / (self.values[-1] + damping)
        loose = (slopes @ self.covariance).flatten(1) * least
        shares = 1 / (self.values + damping) - least
        stiff = (slopes.flatten(1) @ self.directions * shares) @ self.directions.t()
        return (loose + stiff).view_as(slopes)


def measure_curvature(
    network: Generator,
    settings: CurvatureSettings | None = None,
    *,
    on_batch: Callable[[int, int], object] | None = None,
) -> Curvature:
    """Measure a generator's curvature under the embedded trunk.

    Args:
        network: a frozen generator, in evaluation mode, on any device.
        settings: how; None for the defaults.
        on_batch: told how many pictures are done, and of how many.

    Raises:
        UsageError: more directions are wanted than there are.
    """
    settings = settings or CurvatureSettings()
    if settings.rank > network.num_ws * network.w_dim:
        raise UsageError(
            f"rank is {settings.rank}; {network.name or 'the network'} has {network.num_ws * network.w_dim} directions."
        )
    device = network.w_avg.device
    trunk = load_trunk().to(device)
    spread = network.w_spread()
    found = []
    with seeded(settings.seed, 0, device):
        for first in range(0, settings.pictures, settings.batch):
            count = min(settings.batch, settings.pictures - first)
            ws = random_latents(network, count, spread)
            found.append(_probe(network, trunk, ws, settings).cpu())
            if on_batch:
                on_batch(first + count, settings.pictures)
        synchronize(device)
    return _strongest(torch.cat(found), _covariance(network), settings.rank, network_id(network))


def _probe(network: Generator, trunk: Trunk, ws: Tensor, settings: CurvatureSettings) -> Tensor:
    """Slopes of random combinations of what is compared, [N * probes, L, D]; their mean square is J^T J."""
    ws = ws.requires_grad_(True)
    with torch.enable_grad():
        drawn = network.synthesis(ws)
        taps = trunk.normalised(drawn)
        slopes: list[Tensor] = []
        for probe in range(settings.probes):
            # The distance is a mean over places, so each place's share is divided by their number's root.
            parts = [(tap * torch.randn_like(tap)).sum() / (tap.shape[2] * tap.shape[3]) ** 0.5 for tap in taps]
            share = (settings.pixels / drawn[0].numel()) ** 0.5
            total = torch.stack(parts).sum() + (drawn * torch.randn_like(drawn)).sum() * share
            slopes += torch.autograd.grad(total, ws, retain_graph=probe + 1 < settings.probes)
    return torch.cat(slopes)


@torch.no_grad()
def _covariance(network: Generator) -> Tensor:
    """Of w, float64 [D, D] on the CPU, with no direction so narrow that rounding decides."""
    covariance = torch.cov(network.sample_w(W_AVG_SAMPLES, seed=123).double().cpu().t())
    widest = torch.linalg.eigvalsh(covariance)[-1]
    return covariance + torch.eye(len(covariance), dtype=torch.float64) * (EVEN * widest).clamp(min=SMALL)


def _strongest(slopes: Tensor, covariance: Tensor, rank: int, network: str) -> Curvature:
    """The directions of the largest curvature, in units of w's own spread, from probes [M, L, D]."""
    root = torch.linalg.cholesky(covariance)  # S = root root^T
    white = (slopes.double() @ root).flatten(1) * (2 / len(slopes)) ** 0.5  # twice: a square's second derivative
    values, left = torch.linalg.eigh(white @ white.t())  # as many as probes, and not as dimensions
    rank = min(rank, int((values > SMALL).sum()))
    values, left = values[-rank:].flip(0), left[:, -rank:].flip(1)
    right = (white.t() @ left) / values.sqrt()  # [L * D, rank], of length 1
    directions = right.t().unflatten(1, slopes.shape[1:]) @ root.t()
    return Curvature(directions.flatten(1).t().float().contiguous(), values.float(), covariance.float(), network)
