"""Low-pass filters for alias-free synthesis (Karras et al. 2021, sec. 3.2 and appendix C), and resampling with them.

Frequencies and sampling rates are in cycles and samples per picture side: a picture of R pixels has the rate R and
represents frequencies up to R / 2.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def kaiser_window(taps: int, width: float, rate: float) -> np.ndarray:
    """Kaiser window for a transition band of ``width``; float64 [taps].

    Kaiser's empirical formulae (appendix C) give the attenuation from the number of taps, and beta from that.
    """
    attenuation = 2.285 * (taps - 1) * math.pi * width / (rate / 2) + 7.95
    if attenuation > 50:
        beta = 0.1102 * (attenuation - 8.7)
    elif attenuation > 21:
        beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    else:
        beta = 0.0
    return np.kaiser(taps, beta)


def lowpass_filter(taps: int, cutoff: float, width: float, rate: float) -> np.ndarray:
    """One axis of a separable low-pass filter, float64 [taps], summing to 1: a windowed sinc.

    Args:
        taps: length.
        cutoff: middle of the transition band.
        width: of the transition band.
        rate: samples per unit.
    """
    positions = np.arange(taps) - (taps - 1) / 2
    kernel = np.sinc(2 * cutoff / rate * positions) * kaiser_window(taps, width, rate)
    return kernel / kernel.sum()


def radial_lowpass_filter(taps: int, cutoff: float, width: float, rate: float) -> np.ndarray:
    """A radially symmetric low-pass filter, float64 [taps, taps], summing to 1: a windowed jinc.

    Karras et al. 2021, appendix C; arguments as for :func:`lowpass_filter`, ``taps`` even.
    """
    positions = (np.arange(taps) - (taps - 1) / 2) / rate
    radius = np.hypot(*np.meshgrid(positions, positions))  # never 0, as the number of taps is even
    window = kaiser_window(taps, width, rate)
    # Wrong by up to 5e-7, which moves a tap by 1e-8: what float32 rounds away.
    bessel = torch.special.bessel_j1(torch.from_numpy(2 * math.pi * cutoff * radius)).numpy()
    plane = bessel / radius * np.outer(window, window)
    return plane / plane.sum()


def upsample(x: Tensor, line: Tensor, factor: int, crop: int) -> Tensor:
    """Insert ``factor - 1`` zeros after each sample, and filter both axes with gain ``factor``.

    Args:
        x: [N, C, H, W].
        line: the filter of one axis, [k].
        factor: of height and width.
        crop: samples to cut off each side of the full convolution.

    Returns:
        [N, C, H', W'] with H' = (H - 1) factor + k - 2 crop.
    """
    line = (line * factor).to(x.dtype)
    for shape, stride, padding in (
        ((-1, 1), (factor, 1), (crop, 0)),
        ((1, -1), (1, factor), (0, crop)),
    ):
        x = F.conv_transpose2d(x, _depthwise(line.view(shape), x), stride=stride, padding=padding, groups=x.shape[1])
    return x


def downsample(x: Tensor, kernel: Tensor, factor: int) -> Tensor:
    """Filter, and keep every ``factor``-th sample of each axis; no padding.

    Args:
        x: [N, C, H, W].
        kernel: [k] for a separable filter, or [k, k].
        factor: of height and width.

    Returns:
        [N, C, H', W'] with H' = (H - k) // factor + 1.
    """
    kernel = kernel.to(x.dtype)
    if kernel.ndim == 2:
        return F.conv2d(x, _depthwise(kernel, x), stride=factor, groups=x.shape[1])
    x = F.conv2d(x, _depthwise(kernel[:, None], x), stride=(factor, 1), groups=x.shape[1])
    return F.conv2d(x, _depthwise(kernel[None], x), stride=(1, factor), groups=x.shape[1])


def _depthwise(kernel: Tensor, x: Tensor) -> Tensor:
    """[h, w] to [C, 1, h, w]. The filters are symmetric, so convolution and correlation are the same."""
    return kernel.expand(x.shape[1], 1, *kernel.shape)


def as_buffer(taps: np.ndarray) -> Tensor:
    """Filter coefficients as float32 on the CPU, even where networks are being built on the meta device."""
    return torch.tensor(taps, dtype=torch.float32, device="cpu")
