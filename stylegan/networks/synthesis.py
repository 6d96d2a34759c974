"""The synthesis network of StyleGAN2, with output skips (Karras et al. 2020, fig. 7)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from relatent.core.errors import ShapeError, UnknownNameError
from stylegan.networks import ops
from stylegan.networks.layers import Linear, normal

NoiseMode = Literal["const", "random", "none"]
NOISE_MODES = ("const", "random", "none")
StyleMethod = Literal["demodulate", "adain"]
STYLE_METHODS = ("demodulate", "adain")


class SynthesisLayer(nn.Module):
    """A styled 3x3 convolution with noise: [N, in, H, W] and w [N, w_dim] to [N, out, H', W'].

    Args:
        in_channels: channels in.
        out_channels: channels out.
        w_dim: dimensions of w.
        resolution: height and width of the result.
        up: double the resolution.
        clamp: limit on the activations; None for none.
        style_method: "demodulate" is StyleGAN2; "adain" is StyleGAN 1's adaptive instance normalisation
            (Karras et al. 2019, eq. 1) after noise, bias and activation.
    """

    noise_const: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        *,
        up: bool = False,
        clamp: float | None = None,
        style_method: StyleMethod = "demodulate",
    ) -> None:
        super().__init__()
        self.resolution, self.clamp, self.style_method = resolution, clamp, style_method
        self.up = up
        self.weight_gain = 1 / math.sqrt(in_channels * 9)
        adain = style_method == "adain"
        self.affine = Linear(w_dim, 2 * out_channels if adain else in_channels, bias_init=0 if adain else 1)
        self.weight = nn.Parameter(normal(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", normal(resolution, resolution))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """One layer; ``noise`` is [N or 1, 1, H', W'] or None."""
        bias = (self.bias * ops.SQRT2).to(x.dtype)[None, :, None, None]
        if self.style_method == "adain":
            convolve = ops.upsampling_conv2d if self.up else ops.conv2d
            x = convolve(x, (self.weight * (self.weight_gain * ops.SQRT2)).to(x.dtype)) + bias
        else:
            x, coefficients = ops.modulated_conv2d(x, self.weight, self.affine(w), self.up)
            x = torch.addcmul(bias, x, coefficients * ops.SQRT2)
        # in place: no gradient needs the previous values, and allocating memory is slow
        if noise is not None:
            x = x.add_((noise * (self.noise_strength * ops.SQRT2)).to(x.dtype))
        x = ops.leaky_relu(x, self.clamp, inplace=True)
        if self.style_method == "adain":
            scale, shift = self.affine(w)[:, :, None, None].to(x.dtype).chunk(2, dim=1)
            x = torch.addcmul(shift, ops.instance_norm(x), scale + 1)
        return x


class ToRGB(nn.Module):
    """A styled 1x1 convolution to the picture's channels, without demodulation or noise."""

    def __init__(self, in_channels: int, img_channels: int, w_dim: int, *, clamp: float | None = None) -> None:
        super().__init__()
        self.clamp = clamp
        self.weight_gain = 1 / math.sqrt(in_channels)
        self.affine = Linear(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(normal(img_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(img_channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """[N, in, H, W] and w [N, w_dim] to float [N, img_channels, H, W]."""
        styles = self.affine(w) * self.weight_gain
        if x.dtype == torch.float16:  # large styles could overflow: divide by their peak, and multiply in float32
            peak = ops.peak(styles, dim=1)
            x = ops.conv2d(ops.modulate(x, styles / peak), self.weight.to(x.dtype))
            x = x.to(self.bias.dtype) * peak[:, :, None, None]
        else:
            x = ops.conv2d(ops.modulate(x, styles), self.weight.to(x.dtype)).to(self.bias.dtype)
        x = x + self.bias[:, None, None]
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class SynthesisBlock(nn.Module):
    """All layers of one resolution. The first block starts from a learned constant."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        img_channels: int,
        *,
        clamp: float | None = None,
        style_method: StyleMethod = "demodulate",
    ) -> None:
        super().__init__()
        self.const = None if in_channels else nn.Parameter(normal(out_channels, resolution, resolution))
        self.conv0 = None
        if in_channels:
            self.conv0 = SynthesisLayer(
                in_channels, out_channels, w_dim, resolution, up=True, clamp=clamp, style_method=style_method
            )
        self.conv1 = SynthesisLayer(
            out_channels, out_channels, w_dim, resolution, clamp=clamp, style_method=style_method
        )
        self.torgb = ToRGB(out_channels, img_channels, w_dim, clamp=clamp)

    @property
    def layers(self) -> list[SynthesisLayer]:
        """The layers that read noise, first to last."""
        return [self.conv1] if self.conv0 is None else [self.conv0, self.conv1]

    def forward(
        self,
        x: Tensor | None,
        image: Tensor | None,
        ws: Sequence[Tensor],
        noises: Iterator[Tensor | None],
        dtype: torch.dtype,
        fade: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Returns the features and the picture so far.

        ``ws`` holds one [N, w_dim] for each layer and ToRGB; ``fade`` is the weight of this block's RGB output.
        """
        if self.const is not None:
            x = self.const.to(dtype)[None].expand(ws[0].shape[0], -1, -1, -1)
            x = x.contiguous(memory_format=torch.channels_last)
        assert x is not None
        for layer, w in zip(self.layers, ws, strict=False):
            x = layer(x, w, next(noises))
        rgb = self.torgb(x, ws[-1])
        if fade is not None:
            rgb = rgb * fade
        return x, rgb if image is None else ops.upsample2d(image) + rgb


class SynthesisNetwork(nn.Module):
    """ws [N, num_ws, w_dim] to image [N, 3, R, R], about [-1, 1], not clamped.

    Args:
        resolution: R, a power of two from 8 to 1024.
        w_dim: dimensions of w.
        channels: channels at each resolution from 4 to R.
        img_channels: 3, or 1 for grey pictures, which come out as three equal channels.
        clamp: limit on activations; None for none.
        style_method: see :class:`SynthesisLayer`.

    Attributes:
        fade: weight of the last block's RGB output, [], while a grown network fades it in; None for 1.
    """

    fade: Tensor | None

    def __init__(
        self,
        resolution: int,
        w_dim: int,
        channels: dict[int, int],
        img_channels: int = 3,
        *,
        clamp: float | None = None,
        style_method: StyleMethod = "demodulate",
    ) -> None:
        super().__init__()
        self.resolution, self.w_dim, self.img_channels = resolution, w_dim, img_channels
        self.blocks = nn.ModuleDict()
        previous = 0
        for size in sorted(channels):
            self.blocks[str(size)] = SynthesisBlock(
                previous, channels[size], w_dim, size, img_channels, clamp=clamp, style_method=style_method
            )
            previous = channels[size]
        self.num_ws = len(self.layers) + 1
        self.register_buffer("fade", None, persistent=False)

    @property
    def layers(self) -> list[SynthesisLayer]:
        """Every layer that reads noise, first to last; layer i reads ``ws[:, i]``."""
        return [layer for block in self._blocks() for layer in block.layers]

    @property
    def demodulated(self) -> list[tuple[Linear, int]]:
        """Affine layers of the demodulated convolutions, each with the index of the w that it reads."""
        return [(layer.affine, i) for i, layer in enumerate(self.layers) if layer.style_method == "demodulate"]

    @property
    def last_block(self) -> SynthesisBlock:
        """The block of the full resolution."""
        return self._blocks()[-1]

    @property
    def noise_buffers(self) -> list[Tensor]:
        """The noise that ``noise_mode="const"`` uses, [1, 1, r, r] for each layer."""
        return [layer.noise_const[None, None] for layer in self.layers]

    def forward(
        self,
        ws: Tensor,
        noise_mode: NoiseMode = "const",
        *,
        noise: Sequence[Tensor] | None = None,  # overrides noise_mode: [N or 1, 1, r, r] for each layer
        dtype: torch.dtype = torch.float32,  # of the features; ws, styles and the picture stay float32
    ) -> Tensor:
        """Draw ws.

        Raises:
            ShapeError: ws or a given noise has another shape than this network's.
            UnknownNameError: noise_mode is none of "const", "random", "none".
        """
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise ShapeError(f"ws has shape {list(ws.shape)}; expected [N, {self.num_ws}, {self.w_dim}].")
        if dtype == torch.float32:
            dtype = self.layers[0].weight.dtype  # float32, or float64 in a network of double precision
        ws = ws.to(self.layers[0].weight.dtype)
        noises = iter(self._noises(ws, noise_mode, noise))
        x: Tensor | None = None
        image: Tensor | None = None
        first = 0
        for block in self._blocks():
            count = len(block.layers)
            fade = self.fade if block is self.last_block else None
            x, image = block(x, image, ws[:, first : first + count + 1].unbind(dim=1), noises, dtype, fade)
            first += count
        assert image is not None
        return ops.as_rgb(image).contiguous()

    def _blocks(self) -> list[SynthesisBlock]:
        return cast("list[SynthesisBlock]", list(self.blocks.values()))

    def _noises(self, ws: Tensor, mode: NoiseMode, given: Sequence[Tensor] | None) -> list[Tensor | None]:
        layers = self.layers
        if given is not None:
            return self._checked_noises(given, len(ws))
        if mode == "none":
            return [None] * len(layers)
        if mode == "const":
            return list(self.noise_buffers)
        if mode != "random":
            raise UnknownNameError("noise mode", mode, NOISE_MODES)
        return [ws.new_empty(len(ws), 1, layer.resolution, layer.resolution).normal_() for layer in layers]

    def _checked_noises(self, given: Sequence[Tensor], count: int) -> list[Tensor | None]:
        sizes = [layer.resolution for layer in self.layers]
        shapes = [tuple(noise.shape) for noise in given]
        right = [shape[1:] for shape in shapes] == [(1, r, r) for r in sizes]
        # one map may be broadcast to all samples, but one sample must not be broadcast to many maps
        if not right or any(shape[0] not in (1, count) for shape in shapes):
            raise ShapeError(
                f"the given noise has shapes {list(map(list, shapes))}; "
                f"expected one [{count} or 1, 1, r, r] for each r of {sizes}."
            )
        return list(given)
