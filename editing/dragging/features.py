"""The features of one layer of a generator, and patches of them.

Points are (x, y) in pixels of the drawn face, (0, 0) the centre of the top-left one, as everywhere.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inversion.optim.low_rank import Tuned, draw
from relatent.core.errors import UsageError
from stylegan.networks.alias_free import AliasFreeLayer, AliasFreeSynthesis
from stylegan.networks.generator import Generator
from stylegan.networks.mlp import MlpSynthesis

SMALL = 1e-8


@dataclass(frozen=True)
class FeatureLayer:
    """A layer whose features are read.

    Attributes:
        module: of the synthesis network; its output, or the first of its outputs, are the features.
        rate: features per picture side.
        margin: features beyond each edge of the picture, which StyleGAN3 has.
        layers: number of w that the features depend on, the first ones.
    """

    module: nn.Module
    rate: int
    margin: int
    layers: int


def feature_layers(network: Generator) -> list[FeatureLayer]:
    """The layers whose features can be read, first to last: StyleGAN2's blocks, StyleGAN3's layers without ToRGB."""
    synthesis = network.synthesis
    if isinstance(synthesis, AliasFreeSynthesis):
        found = []
        for index, layer in enumerate(synthesis.layers):
            assert isinstance(layer, AliasFreeLayer)
            band = layer.plan.after
            if not layer.plan.is_picture:
                found.append(FeatureLayer(layer, band.rate, (band.size - band.rate) // 2, index + 2))
        return found
    if isinstance(synthesis, MlpSynthesis):
        raise UsageError("this network has no features with positions, which dragging needs. Use a StyleGAN network.")
    found, layers = [], 0
    for size, block in synthesis.blocks.items():
        layers += len(block.layers)  # type: ignore[arg-type]
        found.append(FeatureLayer(block, int(size), 0, layers))
    return found


def layer_at(network: Generator, rate: int) -> FeatureLayer:
    """The last layer of the highest rate up to ``rate``, or the first layer if all have more."""
    layers = feature_layers(network)
    within = [layer for layer in layers if layer.rate <= rate]
    return within[-1] if within else layers[0]


@dataclass(frozen=True)
class Drawing:
    """What a network draws, and its features on the way.

    Attributes:
        features: [1, C, h, w].
        image: [1, 3, R, R].
    """

    features: Tensor
    image: Tensor


class FeatureReader:
    """Draws ws and reads the features of one layer.

    Args:
        network: a frozen generator.
        layer: one of :func:`feature_layers`.
        noise: of the inversion, on the network's device; None for the network's own.
        tuned: the photo's additions to the weights.
    """

    def __init__(
        self, network: Generator, layer: FeatureLayer, noise: Sequence[Tensor] | None = None, tuned: Tuned | None = None
    ) -> None:
        self.network, self.layer, self.noise, self.tuned = network, layer, noise, tuned

    def draw(self, ws: Tensor) -> Drawing:
        """Draw ws [1, L, w_dim]; differentiable."""
        read: list[Tensor] = []
        own = threading.get_ident()  # other threads may draw with the same network

        def keep(_: nn.Module, __: Any, output: Tensor | tuple[Tensor, ...]) -> None:
            if threading.get_ident() == own:
                read.append(output if isinstance(output, Tensor) else output[0])

        hook = self.layer.module.register_forward_hook(keep)
        try:
            image = draw(self.network, ws, self.noise, self.tuned)
        finally:
            hook.remove()
        return Drawing(read[-1], image)

    def sample(self, features: Tensor, points: Tensor) -> Tensor:
        """Features at points [..., 2], interpolated bilinearly: [..., C]."""
        size = features.shape[-1]
        places = (points + 0.5) * (self.layer.rate / self.network.resolution) + self.layer.margin
        grid = (places * (2 / size) - 1).reshape(1, 1, -1, 2)
        sampled = F.grid_sample(features, grid, align_corners=False, padding_mode="border")
        return sampled[0, :, 0].t().reshape(*points.shape[:-1], -1)

    @property
    def step(self) -> float:
        """The distance between features in pixels of the face."""
        return self.network.resolution / self.layer.rate


def square_offsets(radius: float, spacing: float, like: Tensor) -> Tensor:
    """Offsets (x, y) of a square patch, [K, 2], at most ``radius`` from its centre along each axis."""
    count = int(radius / spacing + SMALL)
    line = torch.arange(-count, count + 1, device=like.device, dtype=like.dtype) * spacing
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)
