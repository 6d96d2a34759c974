"""The baseline of the speed benchmarks: the same operations, written as published implementations write them.

Every sample has its own copy of each modulated weight and a convolution of as many groups as samples; float32,
NCHW; activation, gain, bias and noise are separate passes; the discriminator's step draws its pictures again.
The networks' own parameters are used, so results agree with Relatent's, which a test checks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan.networks.discriminator import Discriminator
from stylegan.networks.layers import Conv2d
from stylegan.networks.ops import EPSILON, SQRT2, mean_over_groups_stddev
from stylegan.networks.synthesis import SynthesisLayer, SynthesisNetwork, ToRGB
from stylegan.training import loss as gan_loss
from stylegan.training.seeding import seeded
from stylegan.training.trainer import Trainer

TAPS = (1.0, 3.0, 3.0, 1.0)


def synthesise(network: SynthesisNetwork, ws: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
    """ws [N, num_ws, w_dim] to image [N, 3, R, R]; ``noise`` as in :class:`SynthesisNetwork`, random if None."""
    x: Tensor | None = None
    image: Tensor | None = None
    levels = iter(noise) if noise is not None else None
    index = 0
    for block in network._blocks():
        if block.const is not None:
            x = block.const[None].repeat(len(ws), 1, 1, 1)
        for layer in block.layers:
            assert x is not None
            size = layer.resolution
            level = torch.randn(len(ws), 1, size, size, device=ws.device) if levels is None else next(levels)
            x = _styled(layer, x, ws[:, index], level)
            index += 1
        assert x is not None
        rgb = _to_rgb(block.torgb, x, ws[:, index])
        image = rgb if image is None else _resampled(image, up=2, pad=(2, 1)) + rgb
    assert image is not None
    return image


def judge(network: Discriminator, image: Tensor) -> Tensor:
    """Pictures [N, 3, R, R] to logits [N, 1]."""
    x = _convolved(network.fromrgb, image)
    for block in network.blocks.values():
        shortcut = _convolved(block.skip, x, down=True)  # type: ignore[arg-type]
        x = _convolved(block.conv0, x)  # type: ignore[arg-type]
        x = shortcut + _convolved(block.conv1, x, down=True)  # type: ignore[arg-type]
    x = _convolved(network.conv, mean_over_groups_stddev(x, network.config.group_size))
    return network.out(network.hidden(x.flatten(1)))


class PublishedTrainer(Trainer):
    """A training step in the published form; everything else is the real trainer's."""

    def train_step(self, compare: bool = False) -> None:  # noqa: ARG002 - nobody reads the report's distances
        settings = self.settings
        self._zero_gradients()
        with seeded(settings.seed, self.step, self.device):
            real, c = self._real_batch()
            z = torch.randn(settings.batch, settings.generator.z_dim, device=self.device)
            self._generator_gradients(self._drawn(z), z, c)
            self._move_generator()
            with torch.no_grad():
                fake = self._drawn(torch.randn_like(z))
            self._move_discriminators(self._discriminator_gradients(real, fake, c))
        self._update_average()
        self.step += 1
        self.images_seen += settings.batch

    def _drawn(self, z: Tensor) -> Tensor:
        ws = gan_loss.mixed_ws(self.generator, z, None, self.settings.loss_weights.mixing_probability)
        return synthesise(self.generator.synthesis, ws)

    def _logits(self, image: Tensor, c: Tensor | None, exact: bool = False) -> Tensor:  # noqa: ARG002 - no classes, no compiling
        return judge(self.discriminator, image)


def _styled(layer: SynthesisLayer, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
    weight = _modulated(layer.weight, layer.affine(w), demodulate=True)
    x = _grouped(x, weight, up=layer.up)
    x = x + noise * layer.noise_strength
    x = x + layer.bias[None, :, None, None]
    return F.leaky_relu(x, 0.2) * SQRT2


def _to_rgb(layer: ToRGB, x: Tensor, w: Tensor) -> Tensor:
    weight = _modulated(layer.weight, layer.affine(w) * layer.weight_gain, demodulate=False)
    return _grouped(x, weight) + layer.bias[None, :, None, None]


def _modulated(weight: Tensor, styles: Tensor, *, demodulate: bool) -> Tensor:
    """One weight for each sample, [N, O, I, k, k] (Karras et al. 2020, eqs. 1 and 3)."""
    own = weight[None] * styles[:, None, :, None, None]
    if demodulate:
        own = own * (own.square().sum(dim=(2, 3, 4), keepdim=True) + EPSILON).rsqrt()
    return own


def _grouped(x: Tensor, weight: Tensor, *, up: bool = False) -> Tensor:
    """Convolve each sample with its own weight: N groups in one call."""
    n, o, i, k = weight.shape[:4]
    x = x.reshape(1, n * i, *x.shape[2:])
    if up:
        x = F.conv_transpose2d(x, weight.transpose(1, 2).reshape(n * i, o, k, k), stride=2, groups=n)
        x = _resampled(x, pad=(1, 1), gain=4.0)
    else:
        x = F.conv2d(x, weight.reshape(n * o, i, k, k), padding=k // 2, groups=n)
    return x.reshape(n, o, *x.shape[2:])


def _convolved(layer: Conv2d, x: Tensor, *, down: bool = False) -> Tensor:
    """A layer of the discriminator: filter, convolution, bias, activation, gain."""
    weight = layer.weight * layer.weight_gain
    size = weight.shape[-1]
    if down:
        x = _resampled(x, pad=(2, 2) if size == 3 else (1, 1), down=1 if size == 3 else 2)
        x = F.conv2d(x, weight, stride=2 if size == 3 else 1)
    else:
        x = F.conv2d(x, weight, padding=size // 2)
    if layer.bias is not None:
        x = x + layer.bias[None, :, None, None]
    if layer.activate:
        return F.leaky_relu(x, 0.2) * layer.gain
    return x * layer.gain


def _resampled(x: Tensor, *, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0), gain: float = 0.0) -> Tensor:
    """Insert zeros, pad, filter each channel with [1, 3, 3, 1], keep every ``down``-th pixel."""
    n, channels, height, width = x.shape
    if up > 1:
        x = x.reshape(n, channels, height, 1, width, 1)
        x = F.pad(x, [0, up - 1, 0, 0, 0, up - 1])
        x = x.reshape(n, channels, height * up, width * up)
    x = F.pad(x, [pad[0], pad[1], pad[0], pad[1]])
    line = torch.tensor(TAPS, device=x.device) / math.fsum(TAPS)
    kernel = torch.outer(line, line) * (gain or up**2)
    x = F.conv2d(x, kernel[None, None].repeat(channels, 1, 1, 1), groups=channels)
    return x[:, :, ::down, ::down]
