"""The alias-free synthesis network of StyleGAN3 (Karras et al. 2021).

Each layer treats its pixels as samples of a continuous signal: it convolves, upsamples, applies the nonlinearity
at the higher rate, and low-pass filters before it downsamples (sec. 3.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relatent.core.errors import ShapeError, UnknownNameError
from stylegan.networks import ops
from stylegan.networks.alias_free_filters import as_buffer, downsample, lowpass_filter, radial_lowpass_filter, upsample
from stylegan.networks.alias_free_plan import TAPS_PER_RATE, AliasFreeConfig, Band, LayerPlan, plan_layers
from stylegan.networks.layers import Linear, normal
from stylegan.networks.synthesis import NOISE_MODES, NoiseMode


class FourierFeatures(nn.Module):
    """Fixed Fourier features, rotated and translated by the first w: [N, w_dim] to [N, C, S, S] (sec. 3.2 and 3.3).

    ``transform`` [3, 3], the identity by default, is a further rotation and translation set by the user. It maps
    coordinates of the output picture to coordinates of the features, in picture sides from the centre.

    Args:
        band: size, rate, cutoff and channels of the result.
        w_dim: dimensions of w.
    """

    freqs: Tensor
    phases: Tensor
    transform: Tensor

    def __init__(self, band: Band, w_dim: int) -> None:
        super().__init__()
        self.band = band
        self.weight = nn.Parameter(normal(band.channels, band.channels))
        self.affine = Linear(w_dim, 4)  # cosine and sine, normalised later, and the translation in x and y
        with torch.no_grad():
            self.affine.weight.zero_()
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        freqs, phases = _random_waves(band.channels, band.cutoff)
        self.register_buffer("freqs", freqs)
        self.register_buffer("phases", phases)
        # not torch.eye, which makes PyTorch import its compiler on the meta device; see ``normal``
        self.register_buffer("transform", torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))

    def forward(self, w: Tensor) -> Tensor:
        rotation, shift = self._placement(w)
        phases = self.phases + (shift @ self.freqs.t())  # [N, C]
        freqs = self.freqs @ rotation  # [N, C, 2]
        # The transform may push frequencies beyond the band limit: fade them out before they would alias.
        headroom = self.band.rate / 2 - self.band.cutoff
        fading = (1 - (freqs.norm(dim=2) - self.band.cutoff) / headroom).clamp(0, 1)
        pixels = torch.arange(self.band.size, device=w.device, dtype=w.dtype)
        positions = (pixels + 0.5 - self.band.size / 2) / self.band.rate  # in picture sides from the centre
        along_x = freqs[:, :, 0, None, None] * positions
        along_y = freqs[:, :, 1, None, None] * positions[:, None]
        waves = torch.sin((along_x + along_y + phases[:, :, None, None]) * (2 * math.pi)) * fading[:, :, None, None]
        return ops.conv2d(waves, (self.weight / math.sqrt(self.band.channels))[:, :, None, None])

    def _placement(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Rotation [N, 2, 2] and translation [N, 2] of the features, from w and ``transform``."""
        t = self.affine(w)
        t = t / t[:, :2].norm(dim=1, keepdim=True)
        cosine, sine, shift = t[:, 0], t[:, 1], t[:, 2:]
        rotation = torch.stack([cosine, -sine, sine, cosine], dim=1).view(-1, 2, 2)
        translation = (rotation @ (self.transform[:2, 2] - shift)[:, :, None])[:, :, 0]
        return rotation @ self.transform[:2, :2], translation


def _random_waves(count: int, cutoff: float) -> tuple[Tensor, Tensor]:
    """Frequencies [count, 2], spread evenly over the disc of radius ``cutoff``, and phases [count]."""
    freqs, phases = normal(count, 2), torch.empty(count)
    if freqs.is_meta:
        return freqs, phases
    radii = freqs.norm(dim=1, keepdim=True)
    # The squared radius of a 2D normal variable is exponential; this makes it uniform.
    return freqs / radii * (-radii.square() / 4).exp() * cutoff, phases.uniform_(-0.5, 0.5)


class AliasFreeLayer(nn.Module):
    """A styled convolution and a filtered nonlinearity: [N, in, S, S] and w [N, w_dim] to [N, out, S', S'].

    The filters are derived from the plan and are not part of the state dict. ``magnitude_ema`` is the mean square of
    the input, tracked during the network's training; it is never updated here (sec. 3.2).

    Args:
        plan: sizes, rates and filters.
        w_dim: dimensions of w.
        clamp: limit on the activations; None for none.
    """

    magnitude_ema: Tensor
    up_filter: Tensor
    down_filter: Tensor

    def __init__(self, plan: LayerPlan, w_dim: int, *, clamp: float | None = None) -> None:
        super().__init__()
        self.plan, self.clamp = plan, clamp
        before, after = plan.before, plan.after
        self.affine = Linear(w_dim, before.channels, bias_init=1)
        self.weight = nn.Parameter(normal(after.channels, before.channels, plan.kernel, plan.kernel))
        self.bias = nn.Parameter(torch.zeros(after.channels))
        self.register_buffer("magnitude_ema", torch.ones([]))
        if not plan.is_picture:
            rate = plan.working_rate
            design = radial_lowpass_filter if plan.radial else lowpass_filter
            up = lowpass_filter(TAPS_PER_RATE * plan.up, before.cutoff, 2 * before.half_width, rate)
            down = design(TAPS_PER_RATE * plan.down, after.cutoff, 2 * after.half_width, rate)
            self.register_buffer("up_filter", as_buffer(up), persistent=False)
            self.register_buffer("down_filter", as_buffer(down), persistent=False)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        gain = self.magnitude_ema.rsqrt()
        if self.plan.is_picture:
            return self._picture(x, self.affine(w) * gain)
        # A full convolution: without the padding, the margins would shrink.
        x = F.pad(x, [self.plan.kernel // 2] * 4)
        x, coefficients = ops.modulated_conv2d(x, self.weight, self.affine(w))
        bias = (self.bias * ops.SQRT2).to(x.dtype)[None, :, None, None]
        x = torch.addcmul(bias, x, coefficients * (gain * ops.SQRT2).to(x.dtype))
        x = upsample(x, self.up_filter, self.plan.up, self.plan.crop)
        x = F.leaky_relu(x, 0.2, inplace=True)  # no gradient needs the input, and allocating memory is slow
        if self.clamp is not None:
            x = F.hardtanh(x, -self.clamp, self.clamp, inplace=not x.requires_grad)
        return downsample(x, self.down_filter, self.plan.down)

    def _picture(self, x: Tensor, styles: Tensor) -> Tensor:
        """A 1x1 convolution without demodulation, in the parameters' precision."""
        styles = styles / math.sqrt(self.plan.before.channels)
        x = ops.conv2d(ops.modulate(x.to(self.weight.dtype), styles), self.weight, self.bias)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class AliasFreeSynthesis(nn.Module):
    """ws [N, num_ws, w_dim] to image [N, 3, R, R], about [-1, 1], not clamped.

    It has no noise inputs, so ``noise_mode`` makes no difference.

    Args:
        config: the sizes.
    """

    def __init__(self, config: AliasFreeConfig) -> None:
        super().__init__()
        plans = plan_layers(config)
        self.w_dim, self.output_scale = config.w_dim, config.output_scale
        self.num_ws = len(plans) + 1
        self.input = FourierFeatures(plans[0].before, config.w_dim)
        self.layers = nn.ModuleList(AliasFreeLayer(plan, config.w_dim, clamp=config.conv_clamp) for plan in plans)

    @property
    def noise_buffers(self) -> list[Tensor]:
        """The noise that ``noise_mode="const"`` uses: none."""
        return []

    @property
    def demodulated(self) -> list[tuple[Linear, int]]:
        """Affine layers of the demodulated convolutions, each with the index of the w that it reads."""
        layers = cast("list[AliasFreeLayer]", list(self.layers))
        return [(layer.affine, i) for i, layer in enumerate(layers, start=1) if not layer.plan.is_picture]

    def forward(
        self,
        ws: Tensor,
        noise_mode: NoiseMode = "const",
        *,
        noise: Sequence[Tensor] | None = None,  # None or empty; for the same signature as StyleGAN2's
        dtype: torch.dtype = torch.float32,  # of the features; ws, styles and the picture stay float32
    ) -> Tensor:
        """Draw ws: the Fourier features read ``ws[:, 0]``, and layer i reads ``ws[:, i + 1]``.

        Raises:
            ShapeError: ws has another shape than this network's, or noise was given.
            UnknownNameError: noise_mode is none of "const", "random", "none".
        """
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise ShapeError(f"ws has shape {list(ws.shape)}; expected [N, {self.num_ws}, {self.w_dim}].")
        if noise_mode not in NOISE_MODES:
            raise UnknownNameError("noise mode", noise_mode, NOISE_MODES)
        if noise:
            raise ShapeError(f"{len(noise)} noise maps were given to a network that reads none. Leave noise out.")
        wide = self.input.weight.dtype  # float32, or float64 in a network of double precision
        first, *rest = ws.to(wide).unbind(dim=1)
        x = self.input(first).to(wide if dtype == torch.float32 else dtype)
        x = x.contiguous(memory_format=torch.channels_last)  # makes depthwise convolutions several times faster
        for layer, w in zip(self.layers, rest, strict=True):
            x = layer(x, w)
        return ops.as_rgb(x * self.output_scale).contiguous()
