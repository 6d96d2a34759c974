"""SeFa: the directions a layer's own weights react to most, in closed form (Shen and Zhou 2021, eq. 6).

No faces are drawn and no labels needed: the first thing a layer does with w is an affine map, and the singular
vectors of its weight are the steps it answers with the largest changes of style. What they mean, only a person who
looks at the contact sheet can say.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from editing.directions.direction import Direction
from editing.directions.sampling import SAMPLES
from relatent.core.errors import UsageError
from stylegan import network_id
from stylegan.networks.generator import Generator
from stylegan.networks.layers import Linear


@torch.no_grad()
def sefa_directions(
    network: Generator,
    count: int = 10,
    *,
    layers: Sequence[int] | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
) -> list[Direction]:
    """The ``count`` directions along which the styles change most, strongest first.

    Eigenvectors of A^T A, where A [channels, w_dim] is the stacked affine weights of the layers. Their signs are
    arbitrary; the largest entry is made positive. A step is as long as one standard deviation of w along it, so that
    strength 1 looks natural, whatever the axis.

    Args:
        network: any generator of styles.
        count: at most w_dim.
        layers: whose weights are decomposed and which are moved; None for all.
        samples: latents that the deviation is taken over.
        seed: of those.

    Raises:
        UsageError: more than w_dim directions.
    """
    chosen = range(network.num_ws) if layers is None else layers
    weights = torch.cat([affine_weight(affine) for layer in chosen for affine in layer_affines(network, layer)])
    check_count(count, network.w_dim)
    w = network.sample_w(samples, seed).double().cpu()
    values, axes = principal_axes(weights.T @ weights, count)
    total = float(weights.square().sum())
    return [
        Direction(
            vector=(axes[index] * (w @ axes[index]).std(correction=0)).float(),
            name=f"sefa_{index}",
            network=network_id(network),
            layers=None if layers is None else tuple(layers),
            space="w",
            source=f"sefa: direction {index} of the affine weights of {_named(layers)}",
            unit=f"one standard deviation of w along it over {samples} samples at psi 1",
            facts={"share_of_style_energy": float(values[index]) / total},
        )
        for index in range(count)
    ]


def principal_axes(matrix: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues [count] and their eigenvectors [count, D] of a symmetric matrix, signs made definite."""
    values, vectors = torch.linalg.eigh(matrix)
    values, axes = values.flip(0)[:count], vectors.flip(1).T[:count]
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    return values, axes * largest.sign()


def layer_affines(network: Generator, layer: int) -> list[Linear]:
    """The affine maps that read ``ws[:, layer]``, in the order of drawing: one or two."""
    return [affine for affine, index in style_affines(network) if index == layer]


def style_affines(network: Generator) -> list[tuple[Linear, int]]:
    """Every affine map from w to styles with the layer it reads, in StyleSpace's order.

    That is (Wu et al. 2021): convolution and ToRGB at 4 px, then two convolutions and ToRGB at each size. A block's
    ToRGB reads the w of the next block's first convolution.
    """
    affines = [module for name, module in network.synthesis.named_modules() if name.split(".")[-1] == "affine"]
    blocks = getattr(network.synthesis, "blocks", None)
    if blocks is None:  # an alias-free network has one reader for every w
        return list(zip(affines, range(network.num_ws), strict=True))  # type: ignore[arg-type]
    numbers: list[int] = []
    first = 0
    for block in blocks.values():
        numbers += range(first, first + len(block.layers) + 1)
        first += len(block.layers)
    return list(zip(affines, numbers, strict=True))  # type: ignore[arg-type]


def affine_weight(affine: Linear) -> Tensor:
    """The matrix A [channels, w_dim] of style = A w + b, float64 on the CPU."""
    return affine.weight.detach().double().cpu() * affine.weight_gain


def check_count(count: int, w_dim: int) -> None:
    """Refuse more directions than a latent has dimensions.

    Raises:
        UsageError: such a count.
    """
    if not 1 <= count <= w_dim:
        raise UsageError(f"{count} directions were asked for; this network's latents have 1 to {w_dim}.")


def _named(layers: Sequence[int] | None) -> str:
    return "all layers" if layers is None else f"layers {', '.join(map(str, np.array(layers)))}"
