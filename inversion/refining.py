"""Relatent's own encoder: it looks at a photo beside what has been drawn so far, and says what to change.

ReStyle (Alaluf et al. 2021, sec. 3.1): the first look compares the photo with the average face, each further one with
the last result. The change has e4e's form (Tov et al. 2021, sec. 4.1): one w for all layers and an offset for each,
which training keeps small. The body is the discriminator's: it halves the picture down to 4 x 4 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.alignment import Alignment
from core.errors import ShapeError
from inversion.encoding import Encoder
from stylegan.bounds import MAX_CHANNEL_BASE, MAX_DIM, MAX_LAYERS, require_resolution, require_whole
from stylegan.discriminator import ResidualBlock
from stylegan.generator import channels_by_size
from stylegan.layers import Conv2d, Linear


@dataclass(frozen=True)
class EncoderConfig:
    """Everything needed to build the network of an encoder; saved in its file.

    Attributes:
        resolution: height and width of the pictures it reads.
        num_ws: layers of the generator.
        w_dim: dimensions of w.
        channel_base: channels at resolution r are ``channel_base / r``, at most ``channel_max``.
        channel_max: upper limit on channels.
        hidden: units of the layer before the codes.
    """

    resolution: int
    num_ws: int
    w_dim: int
    channel_base: int = 4096
    channel_max: int = 256
    hidden: int = 512

    def __post_init__(self) -> None:
        require_resolution(self.resolution)
        require_whole("num_ws", self.num_ws, 1, MAX_LAYERS)
        for name in ("w_dim", "channel_max", "hidden"):
            require_whole(name, getattr(self, name), 1, MAX_DIM)
        require_whole("channel_base", self.channel_base, 1, MAX_CHANNEL_BASE)


class Looker(nn.Module):
    """Photo and drawing side by side, [N, 6, S, S], to a change of ws, [N, num_ws, w_dim]."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        width = channels_by_size(config.resolution, config.channel_base, config.channel_max)
        sizes = sorted(width.keys() - {4}, reverse=True)
        self.read = Conv2d(6, width[config.resolution], 1)
        self.blocks = nn.ModuleList(ResidualBlock(width[r], width[r // 2], None) for r in sizes)
        self.conv = Conv2d(width[4], width[4], 3)
        self.hidden = Linear(width[4] * 16, config.hidden, activate=True)
        self.common = Linear(config.hidden, config.w_dim)
        self.offsets = Linear(config.hidden, config.num_ws * config.w_dim)
        for layer in (self.common, self.offsets):
            nn.init.zeros_(layer.weight)  # an untrained encoder changes nothing

    def forward(self, pair: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Features are computed in ``dtype``, the last layers in float32."""
        x = self.read(pair.to(dtype, memory_format=torch.channels_last))
        for block in self.blocks:
            x = block(x)
        h = self.hidden(self.conv(x).to(self.hidden.weight.dtype).flatten(1))
        offsets = self.offsets(h).unflatten(1, (self.config.num_ws, self.config.w_dim))
        return self.common(h)[:, None] + offsets


class RefiningEncoder(Encoder):
    """An encoder that can look again.

    Attributes:
        average_image: what the generator draws of its average w, [3, S, S]: the drawing at the first look.
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
        super().__init__(Looker(config), offset, resolution=size, alignment=alignment, network=network)
        self.config = config
        self.register_buffer("average_image", average_image.detach().clone())

    def forward(self, image: Tensor) -> Tensor:
        """The first look: image [N, 3, S, S] in [-1, 1] to codes [N, num_ws, w_dim], relative to ``offset``.

        Raises:
            ShapeError: pictures of another size or type.
        """
        self.check(image)
        return self.change(image, self.average_image.expand_as(image))

    @property
    def can_look_again(self) -> bool:
        return True

    def change(self, image: Tensor, drawn: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """What to add to ws that drew ``drawn``, to draw ``image``: both [N, 3, S, S], to [N, num_ws, w_dim]."""
        return self.model(torch.cat([image, drawn], dim=1), dtype)
