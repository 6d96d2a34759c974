"""Low-rank updates of the generator's convolutions, with which it is tuned to one photo.

The tuned weight is W + A B with a small rank (LoRA, Hu et al. 2022, sec. 4.1). The factors take some hundred kilobytes
at 64 px and about four megabytes at 1024 px, where the network itself has up to 120.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from relatent.core.errors import ShapeError
from stylegan.networks.generator import Generator

Tuned = dict[str, tuple[Tensor, Tensor]]  # a weight's name in the synthesis network to A [O, r] and B [r, I k k]


def tunable(network: Generator) -> dict[str, Tensor]:
    """The weights that can be tuned, by name: those of the convolutions."""
    return {name: weight for name, weight in network.synthesis.named_parameters() if weight.ndim == 4}


def tuned_weights(network: Generator, tuned: Tuned) -> dict[str, Tensor]:
    """The tuned weights, W + A B, by name.

    Raises:
        ShapeError: the factors do not fit the network.
    """
    weights = tunable(network)
    for name, (left, right) in tuned.items():
        weight = weights.get(name)
        fits = weight is not None and left.shape[0] == weight.shape[0] and right.shape[1] == weight[0].numel()
        if not fits or left.shape[1] != right.shape[0]:
            raise ShapeError(
                f"the tuned weight {name!r} is {list(left.shape)} times {list(right.shape)}, which fits no "
                "convolution of this network. Use the network the photo was inverted with."
            )
    return {
        name: weights[name] + (left.to(weights[name]) @ right.to(weights[name])).view_as(weights[name])
        for name, (left, right) in tuned.items()
    }


def draw(
    network: Generator, ws: Tensor, noise: Sequence[Tensor] | None = None, tuned: Tuned | None = None, **options: Any
) -> Tensor:
    """Draw ws [N, L, w_dim] as image [N, 3, R, R], with the weights of ``tuned`` if it is given.

    Differentiable in ws, noise and the factors; ``options`` are those of the synthesis network.
    """
    if not tuned:
        return network.synthesis(ws, noise=noise, **options)
    return functional_call(network.synthesis, tuned_weights(network, tuned), (ws,), {"noise": noise, **options})


def to_half(tuned: Tuned) -> Tuned:
    """The factors as files store them: half precision, on the CPU."""
    return {
        name: (left.detach().to("cpu", torch.float16), right.detach().to("cpu", torch.float16))
        for name, (left, right) in tuned.items()
    }
