"""Relatent's residual encoder, which compares the photo with the current reconstruction and predicts an update of ws.

As in ReStyle (Alaluf et al. 2021, sec. 3.1), the first iteration starts from the average face, and each further one
from the previous result. The residual has the form of e4e (Tov et al. 2021, sec. 4.1): one w for all layers, plus an
offset for each, which training keeps small.

The inputs are features of the frozen perceptual backbone, which the loss compares as well; only the layers after them
are trained. As the backbone was trained on faces, a tenth of the pictures suffice. The encoder's file contains the
backbone, so an encoder stays valid when the project ships another backbone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inversion.encoders.encoder import Encoder
from relatent.core.alignment import Alignment
from relatent.core.errors import ShapeError
from stylegan.bounds import MAX_DIM, MAX_LAYERS, require_resolution, require_whole
from stylegan.networks.backbone import WIDTHS, Backbone, enlarge_small, unit_length
from stylegan.networks.layers import Conv2d, Linear

COLOURS = 16  # the pictures are read too, at 16 x 16 px, because normalised features do not contain brightness


class PooledLayer(NamedTuple):
    """A layer of the backbone as input: projected to ``channels``, then average-pooled to ``side`` x ``side``."""

    layer: int
    channels: int
    side: int


# The same for every resolution, so that an encoder can be initialised with another's weights. The layers left out
# are nearly redundant with their neighbours.
POOLED_LAYERS = (
    PooledLayer(0, 16, 8),
    PooledLayer(1, 32, 8),
    PooledLayer(2, 48, 8),
    PooledLayer(4, 96, 4),
    PooledLayer(6, 96, 4),
)


@dataclass(frozen=True)
class EncoderConfig:
    """Everything needed to build the network of an encoder; saved in its file.

    Attributes:
        resolution: height and width of its input.
        num_ws: number of the generator's layers that read a w.
        w_dim: dimensions of w.
        hidden: units of the two hidden layers.
    """

    resolution: int
    num_ws: int
    w_dim: int
    hidden: int = 512

    def __post_init__(self) -> None:
        require_resolution(self.resolution)
        require_whole("num_ws", self.num_ws, 1, MAX_LAYERS)
        for name in ("w_dim", "hidden"):
            require_whole(name, getattr(self, name), 1, MAX_DIM)


class ResidualNetwork(nn.Module):
    """Photos [N, 3, S, S] and reconstructions, [N, 3, S, S] or [1, 3, S, S], to residuals of ws, [N, num_ws, w_dim]."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone().requires_grad_(False)
        self.compare = nn.ModuleList(Conv2d(2 * WIDTHS[one.layer], one.channels, 1) for one in POOLED_LAYERS)
        values = 6 * COLOURS**2 + sum(one.channels * one.side**2 for one in POOLED_LAYERS)
        self.gather = Linear(values, config.hidden, activate=True)
        self.hidden = Linear(config.hidden, config.hidden, activate=True)
        self.common = Linear(config.hidden, config.w_dim)
        self.offsets = Linear(config.hidden, config.num_ws * config.w_dim)
        for layer in (self.common, self.offsets):
            nn.init.zeros_(layer.weight)  # the residual of an untrained encoder is zero

    def forward(self, image: Tensor, drawn: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """The 1x1 convolutions compute in ``dtype``, the layers after them in float32."""
        photo_features, drawn_features = self._features(image), self._features(drawn)
        x = [F.adaptive_avg_pool2d(pair, COLOURS) for pair in (image - drawn, drawn.expand_as(image))]
        for pooled, compare in zip(POOLED_LAYERS, self.compare, strict=True):
            a, b = photo_features[pooled.layer], drawn_features[pooled.layer]
            pair = torch.cat([a - b, b.expand_as(a)], dim=1).to(dtype)
            x.append(F.adaptive_avg_pool2d(compare(pair), pooled.side))  # [N, channels, side, side]
        h = self.hidden(self.gather(torch.cat([part.to(image.dtype).flatten(1) for part in x], dim=1)))
        offsets = self.offsets(h).unflatten(1, (self.config.num_ws, self.config.w_dim))
        return self.common(h)[:, None] + offsets

    def _features(self, image: Tensor) -> list[Tensor]:
        """The features that the perceptual distance compares, scaled from unit length to unit variance."""
        with torch.no_grad():
            return [unit_length(feature) * feature.shape[1] ** 0.5 for feature in self.backbone(enlarge_small(image))]


class RefiningEncoder(Encoder):
    """A residual encoder with its initial reconstruction.

    Attributes:
        average_image: the generator's picture of its average w, [3, S, S], from which the first iteration starts.
    """

    average_image: Tensor

    def __init__(
        self,
        config: EncoderConfig,
        w_avg: Tensor,
        average_image: Tensor,
        *,
        alignment: Alignment | None = None,
        network: str = "",
    ) -> None:
        size = config.resolution
        if average_image.shape != (3, size, size):
            raise ShapeError(f"the average picture is {list(average_image.shape)}; expected [3, {size}, {size}].")
        offset = w_avg.detach().clone().expand(config.num_ws, -1).contiguous()
        super().__init__(ResidualNetwork(config), offset, resolution=size, alignment=alignment, network=network)
        self.config = config
        self.register_buffer("average_image", average_image.detach().clone())

    def forward(self, image: Tensor) -> Tensor:
        """The first iteration: image [N, 3, S, S] in [-1, 1] to codes [N, num_ws, w_dim], relative to ``offset``.

        Raises:
            ShapeError: pictures of another size or type.
        """
        self.check(image)
        return self.residual(image, self.average_image[None])

    @property
    def is_iterative(self) -> bool:
        return True

    def residual(self, image: Tensor, drawn: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """The predicted update [N, num_ws, w_dim] from the ws that drew ``drawn`` to those of ``image`` [N, 3, S, S].

        ``drawn`` may be [1, 3, S, S], one reconstruction for all photos.
        """
        return self.model(image, drawn, dtype)
