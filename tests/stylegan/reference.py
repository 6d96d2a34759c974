"""The operators as the papers define them: float64, plain loops over pixels and taps, nothing clever.

Pictures are numpy arrays [C, H, W] of one sample, or [N, C, H, W] where a function is about a batch.
Only `published_modulated_conv2d` is PyTorch: it is what published implementations run, for speed and rounding.
"""

from __future__ import annotations

import math

import numpy as np
import torch.nn.functional as F
from torch import Tensor

TAPS = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64.0  # [4, 4], sums to 1
EPSILON = 1e-8


def pixel(x: np.ndarray, row: int, column: int) -> np.ndarray:
    """All channels at one place, [C]; zeros outside."""
    inside = 0 <= row < x.shape[1] and 0 <= column < x.shape[2]
    return x[:, row, column] if inside else np.zeros(x.shape[0])


def filtered(x: np.ndarray, before: int, after: int, gain: float = 1.0) -> np.ndarray:
    """The [1, 3, 3, 1] filter on [C, H, W] with zeros put before and after; each pixel a sum over 16 taps."""
    height, width = (side + before + after - 3 for side in x.shape[1:])
    out = np.zeros((x.shape[0], height, width))
    for i, j in np.ndindex(height, width):
        for a, b in np.ndindex(4, 4):
            out[:, i, j] += gain * TAPS[a, b] * pixel(x, i + a - before, j + b - before)
    return out


def with_zeros_between(x: np.ndarray) -> np.ndarray:
    """[C, H, W] to [C, 2H, 2W]: a zero after each pixel."""
    out = np.zeros((x.shape[0], 2 * x.shape[1], 2 * x.shape[2]))
    for i, j in np.ndindex(x.shape[1:]):
        out[:, 2 * i, 2 * j] = x[:, i, j]
    return out


def upsample(x: np.ndarray) -> np.ndarray:
    return filtered(with_zeros_between(x), before=2, after=1, gain=4)


def downsample(x: np.ndarray) -> np.ndarray:
    return every_second(filtered(x, before=1, after=1))


def every_second(x: np.ndarray) -> np.ndarray:
    out = np.zeros((x.shape[0], (x.shape[1] + 1) // 2, (x.shape[2] + 1) // 2))
    for i, j in np.ndindex(out.shape[1:]):
        out[:, i, j] = x[:, 2 * i, 2 * j]
    return out


def convolution(x: np.ndarray, weight: np.ndarray, padding: int) -> np.ndarray:
    """[I, H, W] and [O, I, k, k] to [O, H', W'], in the sense of neural networks: the kernel is not flipped."""
    k = weight.shape[-1]
    height, width = (side + 2 * padding - k + 1 for side in x.shape[1:])
    out = np.zeros((weight.shape[0], height, width))
    for i, j in np.ndindex(height, width):
        for a, b in np.ndindex(k, k):
            out[:, i, j] += weight[:, :, a, b] @ pixel(x, i + a - padding, j + b - padding)
    return out


def transposed_convolution(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Stride 2: every pixel adds a scaled copy of the kernel to its neighbourhood, [O, 2H + 1, 2W + 1]."""
    out = np.zeros((weight.shape[0], 2 * x.shape[1] + 1, 2 * x.shape[2] + 1))
    for i, j in np.ndindex(x.shape[1:]):
        for a, b in np.ndindex(3, 3):
            out[:, 2 * i + a, 2 * j + b] += weight[:, :, a, b] @ x[:, i, j]
    return out


def upsampling_convolution(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The published order: transposed convolution, then the filter with gain 4."""
    return filtered(transposed_convolution(x, weight), before=1, after=1, gain=4)


def downsampling_convolution(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The published order: the filter, then the convolution with stride 2."""
    if weight.shape[-1] == 1:
        return convolution(downsample(x), weight, padding=0)
    return every_second(convolution(filtered(x, before=2, after=2), weight, padding=0))


def modulated_convolution(x: np.ndarray, weight: np.ndarray, styles: np.ndarray, up: bool = False) -> np.ndarray:
    """Karras et al. 2020, eqs. 1 to 3 as printed: each sample gets its own copy of the weights. [N, I, H, W]."""
    out = []
    for sample, style in zip(x, styles, strict=True):
        own = np.zeros_like(weight)
        for o in range(weight.shape[0]):
            for i in range(weight.shape[1]):
                own[o, i] = style[i] * weight[o, i]  # eq. 1
            own[o] /= math.sqrt((own[o] ** 2).sum() + EPSILON)  # eq. 3
        out.append(upsampling_convolution(sample, own) if up else convolution(sample, own, padding=1))
    return np.stack(out)


def second_moment_normalised(x: np.ndarray) -> np.ndarray:
    """[N, C], row by row."""
    out = np.zeros_like(x)
    for n, row in enumerate(x):
        out[n] = row / math.sqrt(sum(value**2 for value in row) / len(row) + EPSILON)
    return out


def instance_normalised(x: np.ndarray) -> np.ndarray:
    """[N, C, H, W], each plane by its own mean and deviation."""
    out = np.zeros_like(x)
    for n, c in np.ndindex(x.shape[:2]):
        values = [float(v) for v in x[n, c].flat]
        mean = sum(values) / len(values)
        variance = sum((v - mean) ** 2 for v in values) / len(values)
        out[n, c] = (x[n, c] - mean) / math.sqrt(variance + EPSILON)
    return out


def adaptive_instance_norm(x: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Karras et al. 2019, eq. 1; scale and shift [N, C]."""
    normal = instance_normalised(x)
    out = np.zeros_like(x)
    for n, c in np.ndindex(x.shape[:2]):
        out[n, c] = scale[n, c] * normal[n, c] + shift[n, c]
    return out


def leaky_relu(x: np.ndarray, gain: float = 1.0, clamp: float | None = None) -> np.ndarray:
    """The published order: gradient 0.2, gain, clamp."""
    out = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        value = gain * (x[place] if x[place] > 0 else 0.2 * x[place])
        out[place] = value if clamp is None else min(max(value, -clamp), clamp)
    return out


def minibatch_deviation(x: np.ndarray, group_size: int) -> np.ndarray:
    """Karras et al. 2018, sec. 3, in groups: sample n is in group n mod (N / group_size). [N, C + 1, H, W]."""
    n, _, height, width = x.shape
    groups = n // group_size
    out = np.concatenate([x, np.zeros((n, 1, height, width))], axis=1)
    for sample in range(n):
        members = x[[m for m in range(n) if m % groups == sample % groups]]
        deviations = []
        for place in np.ndindex(x.shape[1:]):
            values = [float(member[place]) for member in members]
            mean = sum(values) / len(values)
            deviations.append(math.sqrt(sum((v - mean) ** 2 for v in values) / len(values) + EPSILON))
        out[sample, -1] = sum(deviations) / len(deviations)
    return out


def generator_loss(logit: float) -> float:
    return -math.log(1 / (1 + math.exp(-logit)))


def discriminator_loss(real: float, fake: float) -> float:
    return -math.log(1 / (1 + math.exp(-real))) - math.log(1 - 1 / (1 + math.exp(-fake)))


def r1_of_cubes(x: np.ndarray, factors: np.ndarray) -> list[float]:
    """R1 of D(x) = sum of factors * x^3, whose gradient is 3 * factors * x^2; one number a sample."""
    return [sum((3 * factors[place] * sample[place] ** 2) ** 2 for place in np.ndindex(sample.shape)) for sample in x]


def moving_average(
    start: float, values: list[float], batch: int, half_life: float, lr_rampup_length: float
) -> list[float]:
    """The published average: half-lives in pictures, at most `lr_rampup_length` of those seen before the step."""
    out, average = [], start
    for step, value in enumerate(values):
        images = min(half_life, max(step * batch, 1) * lr_rampup_length)
        keep = 0.5 ** (batch / images)
        average = keep * average + (1 - keep) * value
        out.append(average)
    return out


def published_modulated_conv2d(x: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
    """One convolution in N groups with N copies of the weights, as published implementations do it. PyTorch."""
    n, i, height, width = x.shape
    own = weight[None] * styles[:, None, :, None, None]  # [N, O, I, k, k]
    own = own * (own.square().sum(dim=(2, 3, 4), keepdim=True) + EPSILON).rsqrt()
    out = F.conv2d(x.reshape(1, n * i, height, width), own.flatten(0, 1), padding=weight.shape[-1] // 2, groups=n)
    return out.reshape(n, -1, height, width)
