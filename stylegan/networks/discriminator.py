"""The discriminator: a residual network with a minibatch statistic (Karras et al. 2020, fig. 7)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relatent.core.errors import ShapeError
from stylegan.bounds import MAX_CHANNEL_BASE, MAX_DIM, require_number, require_resolution, require_whole
from stylegan.networks import ops
from stylegan.networks.generator import channels_by_size
from stylegan.networks.layers import Conv2d, Linear
from stylegan.networks.mapping import check_classes


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Everything needed to build a discriminator.

    Attributes:
        resolution: height and width of the pictures.
        c_dim: number of classes; 0 for none.
        channel_base: channels at resolution r are ``channel_base / r``, at most ``channel_max``.
        channel_max: upper limit on channels.
        img_channels: channels of the pictures.
        conv_clamp: limit on activations; None for none.
        group_size: samples over which the minibatch deviation is taken.
    """

    resolution: int = 256
    c_dim: int = 0
    channel_base: int = 32768
    channel_max: int = 512
    img_channels: int = 3
    conv_clamp: float | None = 256.0
    group_size: int = 4

    def __post_init__(self) -> None:
        require_resolution(self.resolution)
        for name in ("channel_max", "img_channels", "group_size"):
            require_whole(name, getattr(self, name), 1, MAX_DIM)
        require_whole("c_dim", self.c_dim, 0, MAX_DIM)
        require_whole("channel_base", self.channel_base, 1, MAX_CHANNEL_BASE)
        if self.conv_clamp is not None:
            require_number("conv_clamp", self.conv_clamp, 1e-3)

    @property
    def channels(self) -> dict[int, int]:
        """Channels at each resolution from 4 up."""
        return channels_by_size(self.resolution, self.channel_base, self.channel_max)


class ResidualBlock(nn.Module):
    """Halves the resolution: two convolutions beside a 1x1 shortcut, both scaled by sqrt 0.5."""

    def __init__(self, in_channels: int, out_channels: int, clamp: float | None) -> None:
        super().__init__()
        gain = math.sqrt(0.5)
        self.conv0 = Conv2d(in_channels, in_channels, 3, clamp=clamp)
        self.conv1 = Conv2d(in_channels, out_channels, 3, down=True, gain=gain, clamp=clamp)
        self.skip = Conv2d(in_channels, out_channels, 1, bias=False, activate=False, down=True, gain=gain)

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.conv1(self.conv0(x))


class Discriminator(nn.Module):
    """image [N, 3, R, R], and c [N, c_dim] if there are classes, to one logit for each picture, [N, 1].

    A positive logit says "real".

    Args:
        config: the sizes.
        grown: keep the fromRGB layer of half the resolution, to fade it out; see stylegan/training/growth.py.

    Attributes:
        fade: weight of the newest block against that layer, []; None in a network that has not grown.
    """

    fade: Tensor | None

    def __init__(self, config: DiscriminatorConfig, *, grown: bool = False) -> None:
        super().__init__()
        self.config = config
        width = config.channels
        sizes = sorted(width.keys() - {4}, reverse=True)
        self.fromrgb = Conv2d(config.img_channels, width[config.resolution], 1, clamp=config.conv_clamp)
        self.blocks = nn.ModuleDict({str(r): ResidualBlock(width[r], width[r // 2], config.conv_clamp) for r in sizes})
        self.old_fromrgb = None
        self.register_buffer("fade", torch.ones([]) if grown else None, persistent=False)
        if grown:
            half = width[config.resolution // 2]
            self.old_fromrgb = Conv2d(config.img_channels, half, 1, clamp=config.conv_clamp)
        self.conv = Conv2d(width[4] + 1, width[4], 3, clamp=config.conv_clamp)
        self.hidden = Linear(width[4] * 16, width[4], activate=True)
        self.out = Linear(width[4], width[4] if config.c_dim else 1)
        self.embed = Linear(config.c_dim, width[4]) if config.c_dim else None

    def forward(self, image: Tensor, c: Tensor | None = None, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Logits of pictures; features are computed in ``dtype``, the last layers in float32.

        Raises:
            ShapeError: the pictures or classes have another shape than this network's.
            UsageError: classes are missing, or given to a network without any.
        """
        self._check(image, c)
        wide = self.out.weight.dtype
        x = image.to(wide if dtype == torch.float32 else dtype, memory_format=torch.channels_last)
        x = self._read(x)
        x = self.conv(ops.mean_over_groups_stddev(x.to(wide), self.config.group_size))
        x = self.out(self.hidden(x.flatten(1)))
        if self.embed is None or c is None:
            return x
        classes = ops.normalize_second_moment(self.embed(c.to(wide)))
        return (x * classes).sum(dim=1, keepdim=True) / math.sqrt(x.shape[1])

    def _read(self, image: Tensor) -> Tensor:
        """All residual blocks; in a grown network, the first one is blended with the layer that it replaces."""
        x = self.fromrgb(image)
        for index, block in enumerate(self.blocks.values()):
            x = block(x)
            if index == 0 and self.old_fromrgb is not None and self.fade is not None:
                old = self.old_fromrgb(F.avg_pool2d(image, 2))
                x = torch.lerp(old, x, self.fade.to(x.dtype))
        return x

    def _check(self, image: Tensor, c: Tensor | None) -> None:
        config = self.config
        shape = (config.img_channels, config.resolution, config.resolution)
        if image.shape[1:] != shape:
            raise ShapeError(f"the image has shape {list(image.shape)}; expected [N, {', '.join(map(str, shape))}].")
        check_classes(c, len(image), config.c_dim)
