"""IR-SE50, the backbone of pSp and e4e: ArcFace's residual network with squeeze and excitation.

The IR blocks are those of Deng et al. 2019 ("ArcFace", section 3.1: batch normalisation first, PReLU in the middle),
with squeeze and excitation as in Hu et al. 2018. The stem works at full resolution, and each of the four stages halves
it. The encoders read the features of the second, third and fourth stage.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEM_CHANNELS = 64  # this and the two below are those of InsightFace_Pytorch, whose weights pSp starts with
STAGES = ((64, 3), (128, 4), (256, 14), (512, 3))  # channels and blocks; the first block of each halves the picture
REDUCTION = 16  # channels to hidden units in a gate


class IRSE50(nn.Module):
    """Features of a picture at three depths."""

    def __init__(self) -> None:
        super().__init__()
        self.stem_conv = nn.Conv2d(3, STEM_CHANNELS, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(STEM_CHANNELS)
        self.stem_prelu = nn.PReLU(STEM_CHANNELS)
        self.stages = nn.ModuleList()
        before = STEM_CHANNELS
        for channels, depth in STAGES:
            blocks = [Block(before, channels, stride=2), *(Block(channels, channels) for _ in range(depth - 1))]
            self.stages.append(nn.Sequential(*blocks))
            before = channels

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[N, 3, S, S] to [N, 128, S/4, S/4], [N, 256, S/8, S/8] and [N, 512, S/16, S/16]."""
        x = self.stem_prelu(self.stem_norm(self.stem_conv(image)))
        fine = self.stages[1](self.stages[0](x))
        middle = self.stages[2](fine)
        return fine, middle, self.stages[3](middle)


class Block(nn.Module):
    """Residual block, [N, in, H, W] to [N, out, H / stride, W / stride]."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.norm_in = nn.BatchNorm2d(in_channels)
        self.conv_in = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.prelu = nn.PReLU(out_channels)
        self.conv_out = nn.Conv2d(out_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm_out = nn.BatchNorm2d(out_channels)
        self.gate = Gate(out_channels)
        self.widen = Widen(in_channels, out_channels, stride) if in_channels != out_channels else None

    def forward(self, x: Tensor) -> Tensor:
        # Without a change of width, the shortcut has no weights: it takes every ``stride``-th pixel.
        shortcut = x[:, :, :: self.stride, :: self.stride] if self.widen is None else self.widen(x)
        x = self.prelu(self.conv_in(self.norm_in(x)))
        return self.gate(self.norm_out(self.conv_out(x))) + shortcut


class Widen(nn.Module):
    """Shortcut of a block that changes the width: a normalised 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Gate(nn.Module):
    """Squeeze and excitation: scales each channel by a function of all channels' means (Hu et al. 2018, eq. 2-4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // REDUCTION, 1, bias=False)
        self.excite = nn.Conv2d(channels // REDUCTION, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.excite(F.relu(self.squeeze(means))))
