"""GANSpace: directions by principal component analysis of w (Harkonen et al. 2020, sec. 2.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from editing.directions.direction import Direction
from editing.directions.sampling import SAMPLES
from editing.directions.sefa import check_count, principal_axes
from stylegan import network_id
from stylegan.networks.generator import Generator


@torch.no_grad()
def ganspace_directions(
    network: Generator,
    count: int = 10,
    *,
    layers: Sequence[int] | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
) -> list[Direction]:
    """The first ``count`` principal components of w, largest first.

    Strength 1 is one standard deviation along the component. ``layers`` gives the layer-wise edits of the paper.

    Args:
        network: the generator.
        count: at most w_dim.
        layers: the layers that directions change; None for all.
        samples: number of random latents.
        seed: of those.

    Raises:
        UsageError: more than w_dim directions.
    """
    check_count(count, network.w_dim)
    w = network.sample_w(samples, seed).cpu().double()
    centred = w - w.mean(dim=0)
    covariance = centred.T @ centred / len(w)
    variances, axes = principal_axes(covariance, count)
    total = float(covariance.trace())
    return [
        Direction(
            vector=(axes[index] * variances[index].clamp_min(0).sqrt()).float(),
            name=f"ganspace_{index}",
            network=network_id(network),
            layers=None if layers is None else tuple(layers),
            space="w",
            source=f"ganspace: principal component {index} of {samples} samples of w, seed {seed}",
            unit=f"one standard deviation along the component over {samples} samples at psi 1",
            facts={"share_of_variance": float(variances[index]) / total},
        )
        for index in range(count)
    ]
