"""A whole layer, in both style methods, and a whole small network against the loops of reference.py."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference
import torch

from stylegan import Generator, GeneratorConfig
from stylegan.networks.synthesis import SynthesisLayer, ToRGB

CLAMP = 0.8


def affine(layer, w):
    """Fully connected with an equalised learning rate, [N, w_dim] to [N, features]."""
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    return np.stack([weight @ row / math.sqrt(weight.shape[1]) + bias for row in w])


def layer_by_loops(layer, x, w, noise, clamp):
    """Karras et al. 2020, fig. 2d (modulate, convolve, demodulate, noise, bias) or 2019, fig. 1b (AdaIN last)."""
    weight, styles = layer.weight.detach().numpy(), affine(layer.affine, w)
    if layer.style_method == "demodulate":
        y = reference.modulated_convolution(x, weight, styles, layer.up)
    else:
        scaled = weight / math.sqrt(weight[0].size)
        convolve = reference.upsampling_convolution if layer.up else lambda s, k: reference.convolution(s, k, 1)
        y = np.stack([convolve(sample, scaled) for sample in x])
    y = y + layer.noise_strength.item() * noise + layer.bias.detach().numpy()[:, None, None]
    y = reference.leaky_relu(y, math.sqrt(2), clamp)
    if layer.style_method == "demodulate":
        return y
    scale, shift = np.split(styles, 2, axis=1)
    return reference.adaptive_instance_norm(y, 1 + scale, shift)


def torgb_by_loops(torgb, x, w):
    """No demodulation, no noise, no activation."""
    styles = affine(torgb.affine, w) / math.sqrt(x.shape[1])
    weight, bias = torgb.weight.detach().numpy(), torgb.bias.detach().numpy()[:, None, None]
    pairs = zip(x, styles, strict=True)
    return np.stack([reference.convolution(s, weight * v[None, :, None, None], 0) + bias for s, v in pairs])


def randomise(module):
    """Biases and noise strengths of an untrained network are zero and would hide mistakes."""
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module.double()


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("method", ["demodulate", "adain"])
def test_layer(method, up):
    torch.manual_seed(0)
    layer = randomise(SynthesisLayer(3, 4, 5, 4 << up, up=up, clamp=CLAMP, style_method=method))
    x, w = torch.randn(2, 3, 4, 4).double(), torch.randn(2, 5).double()
    noise = torch.randn(2, 1, layer.resolution, layer.resolution).double()
    expected = layer_by_loops(layer, x.numpy(), w.numpy(), noise.numpy(), CLAMP)
    np.testing.assert_allclose(layer(x, w, noise).detach().numpy(), expected, rtol=1e-9, atol=1e-9)


def test_torgb():
    torch.manual_seed(0)
    torgb = randomise(ToRGB(6, 3, 5))
    x, w = torch.randn(2, 6, 4, 4).double(), torch.randn(2, 5).double()
    expected = torgb_by_loops(torgb, x.numpy(), w.numpy())
    np.testing.assert_allclose(torgb(x, w).detach().numpy(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", ["demodulate", "adain"])
def test_network_with_skips(method):
    """Karras et al. 2020, fig. 7b: every resolution adds its RGB to the upsampled sum of the earlier ones."""
    torch.manual_seed(0)
    config = GeneratorConfig(
        resolution=8, z_dim=4, w_dim=5, channel_base=32, channel_max=3, conv_clamp=None, style_method=method
    )
    synthesis = randomise(Generator(config)).synthesis
    ws = torch.randn(2, 4, 5).double()
    w = ws.numpy().swapaxes(0, 1)
    noise = [layer.noise_const.numpy() for layer in synthesis.layers]
    four, eight = synthesis.blocks["4"], synthesis.blocks["8"]
    x = np.repeat(four.const.detach().numpy()[None], 2, axis=0)
    x = layer_by_loops(four.conv1, x, w[0], noise[0], None)
    image = torgb_by_loops(four.torgb, x, w[1])
    x = layer_by_loops(eight.conv0, x, w[1], noise[1], None)
    x = layer_by_loops(eight.conv1, x, w[2], noise[2], None)
    image = np.stack([reference.upsample(sample) for sample in image]) + torgb_by_loops(eight.torgb, x, w[3])
    np.testing.assert_allclose(synthesis(ws).detach().numpy(), image, rtol=1e-8, atol=1e-8)
