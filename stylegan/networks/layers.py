"""Layers with an equalised learning rate (Karras et al. 2018, sec. 4.1).

Parameters are stored with unit variance and scaled at run time by He's constant, so that every
parameter moves at the same relative speed under Adam. The stored layout is the published one.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan.networks import ops


def normal(*shape: int, divisor: float = 1.0) -> Tensor:
    """Random numbers for initial weights, with the standard deviation 1 / ``divisor``.

    On the meta device, where networks are built for their shapes only, the numbers stay unset: drawing or dividing
    them there makes PyTorch import its compiler, and loading a network would take seconds longer.
    """
    empty = torch.empty(shape)
    return empty if empty.is_meta else torch.randn(shape) / divisor


class Linear(nn.Module):
    """Fully connected layer, [N, in] to [N, out], in float32.

    Args:
        in_features: number of inputs.
        out_features: number of outputs.
        activate: apply a leaky ReLU with gain sqrt 2.
        bias_init: initial bias; 1.0 for the affine layers of styles.
        lr_multiplier: learning rate of this layer relative to the others (0.01 in the mapping network).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        activate: bool = False,
        bias_init: float = 0.0,
        lr_multiplier: float = 1.0,
    ) -> None:
        super().__init__()
        self.activate = activate
        self.lr_multiplier = lr_multiplier
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.weight = nn.Parameter(normal(out_features, in_features, divisor=lr_multiplier))
        self.bias = nn.Parameter(torch.full((out_features,), float(bias_init)))

    def forward(self, x: Tensor) -> Tensor:
        gain = ops.SQRT2 if self.activate else 1.0
        x = F.linear(x, self.weight * (self.weight_gain * gain), self.bias * (self.lr_multiplier * gain))
        return ops.leaky_relu(x, inplace=True) if self.activate else x


class Conv2d(nn.Module):
    """Convolution of the discriminator, [N, in, H, W] to [N, out, H', W'], in the input's precision.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        kernel_size: 1 or 3.
        bias: add a bias for each channel.
        activate: apply a leaky ReLU with gain sqrt 2.
        down: halve height and width.
        gain: extra factor on the result; sqrt 0.5 in both branches of a residual block.
        clamp: limit on the activations before ``gain``; None for none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        bias: bool = True,
        activate: bool = True,
        down: bool = False,
        gain: float = 1.0,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.activate = activate
        self.down = down
        self.gain = gain * (ops.SQRT2 if activate else 1.0)
        self.clamp = None if clamp is None else clamp * gain
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.weight = nn.Parameter(normal(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight * (self.weight_gain * self.gain)).to(x.dtype)
        bias = None if self.bias is None else (self.bias * self.gain).to(x.dtype)
        x = ops.downsampling_conv2d(x, weight, bias) if self.down else ops.conv2d(x, weight, bias)
        if self.activate:
            return ops.leaky_relu(x, self.clamp, inplace=True)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)
