"""SeFa: directions by closed-form factorisation of the affine weights (Shen and Zhou 2021, eq. 6).

The singular vectors of a layer's affine weight are the directions of w that change its style most. Neither pictures
nor labels are needed. The meaning of a direction must be judged from its contact sheet.
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
    arbitrary; the largest entry is made positive. Strength 1 is one standard deviation of w along the direction, so
    that strengths of different directions are comparable.

    Args:
        network: the generator.
        count: at most w_dim.
        layers: the layers whose weights are factorised and which the directions change; None for all.
        samples: number of random latents for the standard deviation.
        seed: of those.

    Raises:
        UsageError: more than w_dim directions.
    """
    chosen = range(network.num_ws) if layers is None else layers
    weights = torch.cat([affine_weight(affine) for layer in chosen for affine in layer_affines(network, layer)])
    check_count(count, network.w_dim)
    w = network.sample_w(samples, seed).cpu().double()
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
    """The largest eigenvalues [count] and eigenvectors [count, D] of a symmetric matrix, with deterministic signs."""
    values, vectors = torch.linalg.eigh(matrix)
    values, axes = values.flip(0)[:count], vectors.flip(1).T[:count]
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    return values, axes * largest.sign()


def layer_affines(network: Generator, layer: int) -> list[Linear]:
    """The affine layers that read ``ws[:, layer]``, one or two, in the order of the network."""
    return [affine for affine, index in style_affines(network) if index == layer]


def style_affines(network: Generator) -> list[tuple[Linear, int]]:
    """All affine layers from w to styles, each with the index of the w it reads, in the order of StyleSpace.

    In StyleGAN2 (Wu et al. 2021): convolution and ToRGB at 4 px, then two convolutions and ToRGB at each size. The
    ToRGB of a block reads the w of the next block's first convolution.
    """
    affines = [module for name, module in network.synthesis.named_modules() if name.split(".")[-1] == "affine"]
    blocks = getattr(network.synthesis, "blocks", None)
    if blocks is None:  # in an alias-free network, one affine layer reads each w
        return list(zip(affines, range(network.num_ws), strict=True))  # type: ignore[arg-type]
    numbers: list[int] = []
    first = 0
    for block in blocks.values():
        numbers += range(first, first + len(block.layers) + 1)
        first += len(block.layers)
    return list(zip(affines, numbers, strict=True))  # type: ignore[arg-type]


def affine_weight(affine: Linear) -> Tensor:
    """The matrix A [channels, w_dim] of style = A w + b, float64 on the CPU."""
    return affine.weight.detach().cpu().double() * affine.weight_gain


def check_count(count: int, w_dim: int) -> None:
    """Refuse more directions than a latent has dimensions.

    Raises:
        UsageError: ``count`` is not from 1 to w_dim.
    """
    if not 1 <= count <= w_dim:
        raise UsageError(f"{count} directions were asked for; this network's latents have 1 to {w_dim}.")


def _named(layers: Sequence[int] | None) -> str:
    return "all layers" if layers is None else f"layers {', '.join(map(str, np.array(layers)))}"
