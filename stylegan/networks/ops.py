"""The operators of style-based generators, in plain PyTorch.

All pictures are [N, C, H, W]. Resampling uses the separable [1, 3, 3, 1] filter with zero padding, as the
published networks were trained; bilinear interpolation differs from it at the borders.
"""

from __future__ import annotations

import functools
import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

SQRT2 = math.sqrt(2.0)
FILTER_TAPS = (1.0, 3.0, 3.0, 1.0)  # resample_filter of the published code
EPSILON = 1e-8  # Karras et al. 2018, sec. 4.2, and all of StyleGAN since


def normalize_second_moment(x: Tensor) -> Tensor:
    """Scale each row to unit mean square (Karras et al. 2018, eq. 2); [N, C] to [N, C]."""
    return x * (x.square().mean(dim=1, keepdim=True) + EPSILON).rsqrt()


def depthwise_kernel(x: Tensor, taps: tuple[float, ...] = FILTER_TAPS, gain: float = 1.0) -> Tensor:
    """A separable low-pass filter as a depthwise kernel for ``x``: [C, 1, k, k], summing to ``gain``."""
    return _kept_kernel(x.shape[1], taps, gain, x.dtype, x.device)


# Cached: on a GPU, copying the taps to the device would synchronise at every call. Never dropped: a CUDA graph reads
# a kernel where it was. There are a few for each width.
@functools.cache
def _kept_kernel(
    channels: int, taps: tuple[float, ...], gain: float, dtype: torch.dtype, device: torch.device
) -> Tensor:
    with torch.inference_mode(False):  # the first call may be in inference mode, whose tensors autograd refuses
        line = torch.tensor(taps, dtype=torch.float32, device=device)
        kernel = torch.outer(line, line)
        kernel = kernel * (gain / kernel.sum())
        return kernel.to(dtype).expand(channels, 1, len(taps), len(taps)).contiguous()


class _Filter(torch.autograd.Function):
    """A depthwise convolution with a symmetric kernel, whose gradient is another one.

    PyTorch's own gradient of a convolution, differentiated once more as R1 does, also computes the gradient in the
    kernel, channel by channel and for nobody: more than a quarter of a step with R1.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(kernel)
        ctx.padding = padding
        return F.conv2d(x, kernel, padding=padding, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (kernel,) = ctx.saved_tensors
        return _Filter.apply(gradients[0], kernel, kernel.shape[-1] - 1 - ctx.padding), None, None  # type: ignore[no-untyped-call]


def filter2d(x: Tensor, kernel: Tensor, padding: int) -> Tensor:
    """Filter each channel of [N, C, H, W] with a symmetric depthwise kernel [C, 1, k, k]; zeros lie outside."""
    if torch.compiler.is_compiling():  # the compiler differentiates once, and knows convolutions
        return F.conv2d(x, kernel, padding=padding, groups=x.shape[1])
    return cast(Tensor, _Filter.apply(x, kernel, padding))  # type: ignore[no-untyped-call]


def upsample2d(x: Tensor) -> Tensor:
    """Double height and width: insert zeros, then filter with gain 4."""
    kernel = depthwise_kernel(x, gain=4.0)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


def downsample2d(x: Tensor) -> Tensor:
    """Halve height and width: filter, then keep every second pixel.

    [1, 3, 3, 1] is [1, 2, 1] followed by [1, 1]: a depthwise filter at full size and a 2x2 average.
    Both have fast gradients; a depthwise convolution with stride 2 does not.
    """
    return F.avg_pool2d(filter2d(x, depthwise_kernel(x, (1.0, 2.0, 1.0)), padding=1), 2)


def upsampling_conv2d(x: Tensor, weight: Tensor) -> Tensor:
    """A 3x3 convolution at twice the resolution; [N, I, H, W] to [N, O, 2H, 2W].

    Transposed convolution first, then the filter: a quarter of the multiplications of the other order.
    """
    x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    return filter2d(x, depthwise_kernel(x, gain=4.0), padding=1)


def downsampling_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 3x3 or 1x1 convolution at half the resolution; [N, I, H, W] to [N, O, H/2, W/2]."""
    if weight.shape[-1] == 1:
        return F.conv2d(downsample2d(x), weight, bias)
    x = filter2d(x, depthwise_kernel(x), padding=2)
    return F.conv2d(x, weight, bias, stride=2)


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolution that keeps the picture's size, in the picture's precision."""
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def modulated_conv2d(
    x: Tensor,  # [N, I, H, W]
    weight: Tensor,  # [O, I, k, k], float32, shared by all samples
    styles: Tensor,  # [N, I], float32
    up: bool = False,
) -> tuple[Tensor, Tensor]:
    """Weight modulation and demodulation (Karras et al. 2020, eqs. 1 to 3) on the activations.

    ``conv(x, w * s) * d`` equals ``conv(x * s, w) * d``. Scaling the input and the output instead of the
    weights needs one convolution with one weight for the whole batch; the published form makes N copies of
    the weight and a convolution in N groups.

    Returns:
        The convolution before demodulation, [N, O, H', W'], and the demodulation coefficients
        [N, O, 1, 1]. The caller multiplies them, so that it can add the bias in the same pass.
    """
    if x.dtype == torch.float16:
        # float16 ends at 65504. Dividing both factors by their maxima keeps the products small. The
        # coefficients below are computed from the divided factors, so they undo the division.
        weight = weight / (peak(weight, dim=(1, 2, 3)) * math.sqrt(weight[0].numel()))
        styles = styles / peak(styles, dim=1)
    power = styles.square() @ weight.square().sum(dim=(2, 3)).t()  # [N, O]
    coefficients = (power + EPSILON).rsqrt()[:, :, None, None]
    convolve = upsampling_conv2d if up else conv2d
    return convolve(modulate(x, styles), weight.to(x.dtype)), coefficients.to(x.dtype)


def as_rgb(image: Tensor) -> Tensor:
    """A picture [N, 1 or 3, H, W] as [N, 3, H, W]: grey becomes three equal channels, as every photo has three."""
    return image.expand(-1, 3, -1, -1) if image.shape[1] == 1 else image


def peak(x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """The largest magnitude along ``dim`` (kept), at least EPSILON, so that it can be a divisor."""
    return x.abs().amax(dim=dim, keepdim=True).clamp_min(EPSILON)


def modulate(x: Tensor, styles: Tensor) -> Tensor:
    """Scale each channel of [N, C, H, W] by styles [N, C]."""
    return x * styles[:, :, None, None].to(x.dtype)


def instance_norm(x: Tensor) -> Tensor:
    """Zero mean and unit variance for each channel of each picture, computed in float32."""
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    variance, mean = torch.var_mean(wide, dim=(2, 3), keepdim=True, correction=0)
    return ((wide - mean) * (variance + EPSILON).rsqrt()).to(x.dtype)


def leaky_relu(x: Tensor, clamp: float | None = None, *, inplace: bool = False) -> Tensor:
    """Leaky ReLU with negative slope 0.2, then an optional clamp to [-clamp, clamp].

    The published gain of sqrt 2 is not applied here. A positive factor commutes with a leaky ReLU, so callers
    fold it into the preceding weights or coefficients and save a pass over ``x``. ``inplace`` overwrites ``x``;
    the gradient needs only the result, which the next layer keeps anyway.
    """
    x = F.leaky_relu(x, 0.2, inplace=inplace)
    # hardtanh: the same as clamp, but its gradient takes one pass instead of three
    return x if clamp is None else F.hardtanh(x, -clamp, clamp)


def mean_over_groups_stddev(x: Tensor, group_size: int = 4) -> Tensor:
    """Append one channel: the batch's standard deviation (Karras et al. 2018, sec. 3).

    The batch is split into groups of ``group_size`` (smaller if it does not divide the batch); each
    group's deviation over its samples, averaged over all positions, becomes a constant map.
    """
    n, c, h, w = x.shape
    group = min(group_size, n)
    while n % group:
        group -= 1
    grouped = x.reshape(group, n // group, c, h, w)
    deviation = (grouped.var(dim=0, correction=0) + EPSILON).sqrt().mean(dim=(1, 2, 3))
    return torch.cat([x, deviation.repeat(group).reshape(n, 1, 1, 1).expand(n, 1, h, w)], dim=1)
