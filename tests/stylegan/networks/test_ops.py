"""Every operator against plain float64 loops, its gradients against finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from stylegan.networks import ops


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def away_from_zero(*shape):
    """Where a leaky ReLU has no kink within reach of finite differences."""
    x = random(*shape)
    return x.sign() * (x.abs() + 0.1)


def close(ours, expected):
    expected = np.stack(expected) if isinstance(expected, list) else expected
    assert ours.dtype == torch.float64
    np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=1e-10, atol=1e-10)


def demodulated(x, weight, styles, up=False):
    result, coefficients = ops.modulated_conv2d(x, weight, styles, up)
    return result * coefficients


class TestAgainstLoops:
    def test_normalize_second_moment(self):
        x = random(3, 7)
        close(ops.normalize_second_moment(x), reference.second_moment_normalised(x.numpy()))

    def test_upsample(self):
        x = random(2, 3, 4, 5)
        close(ops.upsample2d(x), [reference.upsample(sample) for sample in x.numpy()])

    def test_downsample(self):
        x = random(2, 3, 6, 8)
        close(ops.downsample2d(x), [reference.downsample(sample) for sample in x.numpy()])

    def test_resampling_keeps_a_constant_away_from_the_border(self):
        x = torch.ones(1, 1, 8, 8, dtype=torch.float64)
        close(ops.upsample2d(x)[:, :, 1:-1, 1:-1], np.ones((1, 1, 14, 14)))
        close(ops.downsample2d(x)[:, :, 1:-1, 1:-1], np.ones((1, 1, 2, 2)))
        assert ops.upsample2d(x)[0, 0, 0, 0] == (3 / 4) ** 2  # zeros lie outside; bilinear would give 1

    def test_gradients_pass_a_filter_that_was_first_used_without_any(self):
        x = random(1, 13, 4, 4)
        with torch.inference_mode():
            ops.upsample2d(x)
        x.requires_grad_()
        ops.upsample2d(x).sum().backward()
        assert x.grad is not None

    def test_upsampling_conv2d(self):
        x, weight = random(2, 3, 4, 5), random(2, 3, 3, 3, seed=1)
        expected = [reference.upsampling_convolution(sample, weight.numpy()) for sample in x.numpy()]
        close(ops.upsampling_conv2d(x, weight), expected)

    @pytest.mark.parametrize("size", [1, 3])
    def test_downsampling_conv2d(self, size):
        x, weight, bias = random(2, 3, 6, 8), random(2, 3, size, size, seed=1), random(2, seed=2)
        expected = [reference.downsampling_convolution(sample, weight.numpy()) for sample in x.numpy()]
        close(ops.downsampling_conv2d(x, weight), expected)
        close(ops.downsampling_conv2d(x, weight, bias), np.stack(expected) + bias.numpy()[:, None, None])

    @pytest.mark.parametrize("size", [1, 3])
    def test_conv2d(self, size):
        x, weight, bias = random(2, 3, 4, 5), random(2, 3, size, size, seed=1), random(2, seed=2)
        expected = [reference.convolution(sample, weight.numpy(), size // 2) for sample in x.numpy()]
        close(ops.conv2d(x, weight, bias), np.stack(expected) + bias.numpy()[:, None, None])

    @pytest.mark.parametrize("up", [False, True])
    def test_modulated_conv2d(self, up):
        x, weight, styles = random(3, 4, 4, 5), random(2, 4, 3, 3, seed=1), random(3, 4, seed=2)
        expected = reference.modulated_convolution(x.numpy(), weight.numpy(), styles.numpy(), up)
        close(demodulated(x, weight, styles, up), expected)

    def test_modulate(self):
        x, styles = random(2, 3, 4, 5), random(2, 3, seed=1)
        expected = x.numpy().copy()
        for n, c in np.ndindex(2, 3):
            expected[n, c] *= styles[n, c].item()
        close(ops.modulate(x, styles), expected)

    def test_instance_norm(self):
        x = random(2, 3, 4, 5) * 3 + 2
        close(ops.instance_norm(x), reference.instance_normalised(x.numpy()))

    @pytest.mark.parametrize("clamp", [None, 0.7])
    def test_leaky_relu_with_gain_before_it(self, clamp):
        x = random(2, 3, 4, 5)
        expected = reference.leaky_relu(x.numpy(), math.sqrt(2), clamp)
        close(ops.leaky_relu(x * ops.SQRT2, clamp), expected)
        overwritten = x * ops.SQRT2
        close(ops.leaky_relu(overwritten, clamp, inplace=True), expected)
        close(overwritten, reference.leaky_relu(x.numpy(), math.sqrt(2)))

    @pytest.mark.parametrize(("batch", "group", "effective"), [(8, 4, 4), (4, 4, 4), (6, 4, 3), (3, 4, 3), (1, 4, 1)])
    def test_minibatch_deviation(self, batch, group, effective):
        x = random(batch, 2, 3, 3)
        close(ops.mean_over_groups_stddev(x, group), reference.minibatch_deviation(x.numpy(), effective))


WEIGHT, SMALL = random(2, 3, 3, 3, seed=1), random(2, 3, seed=2)
# name: (function, input, whether R1 differentiates it twice)
CASES = {
    "normalize_second_moment": (ops.normalize_second_moment, random(2, 5), True),
    "upsample2d": (ops.upsample2d, random(1, 2, 3, 3), False),
    "downsample2d": (ops.downsample2d, random(1, 2, 4, 4), True),
    "upsampling_conv2d": (lambda x: ops.upsampling_conv2d(x, WEIGHT), random(1, 3, 3, 3), False),
    "upsampling_conv2d weight": (lambda w: ops.upsampling_conv2d(random(1, 3, 3, 3), w), WEIGHT, False),
    "downsampling_conv2d": (lambda x: ops.downsampling_conv2d(x, WEIGHT), random(1, 3, 4, 4), True),
    "downsampling_conv2d 1x1": (lambda x: ops.downsampling_conv2d(x, WEIGHT[..., :1, :1]), random(1, 3, 4, 4), True),
    "downsampling_conv2d weight": (lambda w: ops.downsampling_conv2d(random(1, 3, 4, 4), w), WEIGHT, True),
    "conv2d": (lambda x: ops.conv2d(x, WEIGHT, random(2, seed=4)), random(1, 3, 4, 4), True),
    "modulated_conv2d x": (lambda x: demodulated(x, WEIGHT, SMALL), random(2, 3, 3, 3), False),
    "modulated_conv2d styles": (lambda s: demodulated(random(2, 3, 3, 3), WEIGHT, s), SMALL, False),
    "modulated_conv2d weight": (lambda w: demodulated(random(2, 3, 3, 3), w, SMALL, up=True), WEIGHT, False),
    "modulate": (lambda s: ops.modulate(random(2, 3, 3, 3), s), SMALL, False),
    "instance_norm": (ops.instance_norm, random(1, 2, 3, 3), False),
    "leaky_relu": (ops.leaky_relu, away_from_zero(2, 3), True),
    "leaky_relu clamped": (lambda x: ops.leaky_relu(x, 0.5), away_from_zero(2, 3), True),
    "leaky_relu in place": (lambda x: ops.leaky_relu(x * 1, 0.5, inplace=True), away_from_zero(2, 3), True),
    "mean_over_groups_stddev": (lambda x: ops.mean_over_groups_stddev(x, 2), random(4, 2, 2, 2), True),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients(name):
    function, x, twice = CASES[name]
    x = x.clone().requires_grad_(True)
    assert gradcheck(function, (x,))
    if twice:
        assert gradgradcheck(function, (x,))


class TestPublishedForm:
    """One convolution for the whole batch must be the N copies of the weight in N groups of the papers' authors."""

    def test_equal_in_float32(self):
        x, weight, styles = random(4, 64, 16, 16).float(), random(48, 64, 3, 3, seed=1).float(), random(4, 64).float()
        published = reference.published_modulated_conv2d(x, weight, styles)
        error = (demodulated(x, weight, styles) - published).abs().max() / published.abs().max()
        assert error < 2e-6


class TestHalfPrecision:
    """Styles of 1e4 leave the range of float16 unless they are normalised before; demodulation undoes their size."""

    def inputs(self):
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(2, 32, 8, 8, generator=generator) * 8
        return x, torch.randn(16, 32, 3, 3, generator=generator), torch.randn(2, 32, generator=generator) * 1e4

    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 5e-3), (torch.bfloat16, 3e-2)])
    @pytest.mark.parametrize("up", [False, True])
    def test_large_styles(self, dtype, tolerance, up):
        x, weight, styles = self.inputs()
        expected = demodulated(x, weight, styles, up)
        found = demodulated(x.to(dtype), weight, styles, up)
        assert found.dtype == dtype
        assert found.isfinite().all()
        assert (found.float() - expected).abs().max() < tolerance * expected.abs().max()

    def test_they_would_overflow_without_the_normalisation(self):
        x, weight, styles = self.inputs()
        plain = ops.conv2d(ops.modulate(x.half(), styles), weight.half())
        assert not plain.isfinite().all()

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_dead_styles_and_filters_give_zeros_not_nan(self, dtype):
        x, weight, styles = self.inputs()
        weight[3] = 0
        assert (demodulated(x.to(dtype), weight, styles)[:, 3] == 0).all()
        assert (demodulated(x.to(dtype), weight, torch.zeros_like(styles)) == 0).all()

    def test_instance_norm_is_computed_in_float32(self):
        x = torch.full((1, 1, 64, 64), 300.0)
        x[..., ::2] = 301.0  # the sum of the squares is far above 65504
        found = ops.instance_norm(x.half())
        assert found.dtype == torch.float16
        assert torch.allclose(found.float(), ops.instance_norm(x), atol=1e-3)


class TestFilter:
    @pytest.mark.parametrize(("taps", "padding"), [((1.0, 2.0, 1.0), 1), ((1.0, 3.0, 3.0, 1.0), 2)])
    def test_is_a_convolution_and_so_are_its_gradients(self, taps, padding):
        def twice(filtered):
            x = random(2, 3, 6, 5).requires_grad_(True)
            y = filtered(x, ops.depthwise_kernel(x, taps), padding)
            (first,) = torch.autograd.grad((y**3).sum(), x, create_graph=True)
            (second,) = torch.autograd.grad((first**2).sum(), x)
            return y, first, second

        plain = twice(lambda x, kernel, padding: torch.conv2d(x, kernel, padding=padding, groups=3))
        for ours, expected in zip(twice(ops.filter2d), plain, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)

    def test_differentiated_twice_it_asks_for_no_gradient_in_the_kernel(self):
        class Called(TorchDispatchMode):
            def __torch_dispatch__(self, function, types, args=(), kwargs=None):
                names.append(str(function))
                return function(*args, **(kwargs or {}))

        names = []
        x = random(1, 3, 8, 8).requires_grad_(True)
        with Called():
            (gradient,) = torch.autograd.grad((ops.downsample2d(x) ** 3).sum(), x, create_graph=True)
            (gradient**2).sum().backward()
        convolutions = [name for name in names if "convolution" in name]
        assert convolutions == ["aten.convolution.default"] * 4  # forwards, backwards, and each of the two back again
