"""Synthesis: noise, style mixing, precision, memory formats, gradients."""

from __future__ import annotations

import copy

import pytest
import torch
from drawing import draw, make, relative

from relatent.core.errors import ShapeError, UnknownNameError


class TestNoise:
    def test_const_is_repeatable(self, tiny_generator):
        ws = draw(tiny_generator)
        assert torch.equal(tiny_generator.synthesis(ws), tiny_generator.synthesis(ws, "const"))

    def test_random_is_new_each_time_and_for_each_sample(self, tiny_generator):
        ws = draw(tiny_generator, 1).repeat(2, 1, 1)
        first, second = tiny_generator.synthesis(ws, "random"), tiny_generator.synthesis(ws, "random")
        assert (first - second).abs().max() > 0.01
        assert (first[0] - first[1]).abs().max() > 0.01

    def test_none_equals_strength_0(self, tiny_generator):
        ws = draw(tiny_generator)
        none = tiny_generator.synthesis(ws, "none")
        assert relative(tiny_generator.synthesis(ws), none) > 0.01
        for layer in tiny_generator.synthesis.layers:
            layer.noise_strength.zero_()
        assert torch.equal(tiny_generator.synthesis(ws), none)
        assert torch.equal(tiny_generator.synthesis(ws, "random"), none)

    @pytest.mark.parametrize("mode", ["const", "random", "none"])
    def test_given_overrides_the_mode(self, tiny_generator, mode):
        ws = draw(tiny_generator)
        noise = [torch.randn_like(buffer) for buffer in tiny_generator.synthesis.noise_buffers]
        found = tiny_generator.synthesis(ws, mode, noise=noise)
        for layer, value in zip(tiny_generator.synthesis.layers, noise, strict=True):
            layer.noise_const.copy_(value[0, 0])
        assert torch.equal(found, tiny_generator.synthesis(ws, "const"))

    def test_given_may_differ_between_samples(self, tiny_generator):
        ws = draw(tiny_generator, 2)
        noise = [torch.randn(2, 1, *buffer.shape[2:]) for buffer in tiny_generator.synthesis.noise_buffers]
        both = tiny_generator.synthesis(ws, noise=noise)
        for n in range(2):
            single = tiny_generator.synthesis(ws[n : n + 1], noise=[value[n : n + 1] for value in noise])
            assert torch.allclose(both[n : n + 1], single, atol=1e-5)

    def test_buffers_have_the_sizes_of_the_layers(self, tiny_generator):
        sizes = [tuple(buffer.shape) for buffer in tiny_generator.synthesis.noise_buffers]
        assert sizes == [(1, 1, r, r) for r in (4, 8, 8, 16, 16, 32, 32)]

    @pytest.mark.parametrize("spoil", ["missing", "extra", "size", "dims", "batch"])
    def test_wrong_shapes(self, tiny_generator, spoil):
        noise = list(tiny_generator.synthesis.noise_buffers)
        if spoil == "missing":
            noise.pop()
        elif spoil == "extra":
            noise.append(noise[-1])
        else:
            noise[3] = {"size": noise[2], "dims": noise[3][0], "batch": noise[3].repeat(3, 1, 1, 1)}[spoil]
        for count in (1, 2):  # three noises for one sample would silently draw three pictures
            with pytest.raises(ShapeError, match="the given noise has shapes"):
                tiny_generator.synthesis(draw(tiny_generator, count), noise=noise)

    def test_unknown_mode(self, tiny_generator):
        with pytest.raises(UnknownNameError, match="did you mean const"):
            tiny_generator.synthesis(draw(tiny_generator), "cosnt")


class TestStyleMixing:
    @pytest.mark.parametrize("changed", range(8))
    def test_a_layer_changes_itself_and_what_follows(self, tiny_generator, changed):
        """Layer i reads ws[:, i]; the ToRGB of a block reads the w of the next block's first layer."""
        blocks = tiny_generator.synthesis.blocks.values()
        parts = [(layer, index) for index, layer in enumerate(tiny_generator.synthesis.layers)]
        last = -1
        for block in blocks:
            last += len(block.layers)
            parts.append((block.torgb, last + 1))
        seen = {}
        for part, _ in parts:
            part.register_forward_hook(lambda module, _inputs, x: seen.setdefault(module, []).append(x.clone()))
        ws = draw(tiny_generator, 1)
        other = ws.clone()
        other[:, changed] = draw(tiny_generator, 1, seed=9)[:, changed]
        images = [tiny_generator.synthesis(ws), tiny_generator.synthesis(other)]
        assert not torch.equal(*images)
        for part, index in parts:
            assert torch.equal(*seen[part]) == (index < changed), (type(part).__name__, index)


class TestPrecision:
    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.01), (torch.bfloat16, 0.05)])
    @pytest.mark.parametrize("method", ["demodulate", "adain"])
    def test_half_is_near_float32(self, tiny_generator, dtype, tolerance, method):
        generator = tiny_generator if method == "demodulate" else make(style_method="adain")
        ws = draw(generator, 4)
        found = generator.synthesis(ws, dtype=dtype)
        assert found.dtype == torch.float32
        assert relative(found, generator.synthesis(ws)) < tolerance

    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.01), (torch.bfloat16, 0.05)])
    def test_styles_of_10000_draw_the_same_picture(self, tiny_generator, dtype, tolerance):
        """Demodulation takes the size of a style away, so the picture must not change, nor overflow."""
        ws = draw(tiny_generator, 4)
        expected = tiny_generator.synthesis(ws)
        for layer in tiny_generator.synthesis.layers:
            layer.affine.weight.mul_(1e4)
            layer.affine.bias.mul_(1e4)
        assert relative(tiny_generator.synthesis(ws), expected) < 1e-5
        assert relative(tiny_generator.synthesis(ws, dtype=dtype), expected) < tolerance

    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.01), (torch.bfloat16, 0.05)])
    def test_large_styles_of_torgb(self, tiny_generator, dtype, tolerance):
        ws = draw(tiny_generator, 2)
        generator = copy.deepcopy(tiny_generator)
        for block in generator.synthesis.blocks.values():
            block.torgb.clamp = None
            block.torgb.affine.weight.mul_(1e5)
            block.torgb.affine.bias.mul_(1e5)
        expected = generator.synthesis(ws)
        assert expected.abs().max() > 65504
        assert relative(generator.synthesis(ws, dtype=dtype), expected) < tolerance

    def test_float16_gradients_are_finite(self, tiny_generator):
        ws = (draw(tiny_generator, 2) * 1e3).requires_grad_(True)
        tiny_generator.synthesis(ws, dtype=torch.float16).mean().backward()
        assert ws.grad.isfinite().all()

    def test_double_network_computes_in_double(self, tiny_generator):
        ws = draw(tiny_generator)
        single = tiny_generator.synthesis(ws)
        double = tiny_generator.double().synthesis(ws.double())
        assert double.dtype == torch.float64
        assert relative(single.double(), double) < 1e-5

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
    def test_clamp_limits_activations(self, dtype):
        generator = make(conv_clamp=0.25)
        parts = [*generator.synthesis.layers, *(block.torgb for block in generator.synthesis.blocks.values())]
        peaks = []
        for part in parts:
            part.register_forward_hook(lambda _module, _inputs, x: peaks.append(x.abs().max().item()))
        generator.synthesis(draw(generator), dtype=dtype)
        assert len(peaks) == 8
        assert max(peaks) == 0.25

    def test_no_clamp(self):
        free, clamped = make(conv_clamp=None), make(conv_clamp=1e6)
        ws = draw(free) * 100
        assert torch.equal(free.synthesis(ws), clamped.synthesis(ws))


class TestEqualResults:
    def test_memory_format(self, tiny_generator):
        ws = draw(tiny_generator)
        expected = tiny_generator.synthesis(ws)
        other = copy.deepcopy(tiny_generator).to(memory_format=torch.channels_last)
        assert relative(other.synthesis(ws), expected) < 1e-5

    @pytest.mark.parametrize("method", ["demodulate", "adain"])
    def test_a_batch_equals_its_samples(self, method):
        generator = make(style_method=method)
        ws = draw(generator, 5)
        batch = generator.synthesis(ws)
        singles = torch.cat([generator.synthesis(one) for one in ws.split(1)])
        assert relative(batch, singles) < 1e-5

    def test_of_nothing(self, tiny_generator):
        assert tiny_generator.synthesis(torch.zeros(0, 8, 24)).shape == (0, 3, 32, 32)


class TestGradients:
    def test_frozen_weights_receive_none_and_ws_do(self, tiny_generator):
        ws = draw(tiny_generator).requires_grad_(True)
        noise = [buffer.clone().requires_grad_(True) for buffer in tiny_generator.synthesis.noise_buffers]
        tiny_generator.synthesis(ws, noise=noise).square().sum().backward()
        assert (ws.grad.abs().sum(dim=2) > 0).all()  # every layer of every sample
        assert all(value.grad.abs().sum() > 0 for value in noise)
        assert all(parameter.grad is None for parameter in tiny_generator.parameters())

    @pytest.mark.parametrize("method", ["demodulate", "adain"])
    def test_every_parameter_learns(self, method):
        generator = make(style_method=method, c_dim=2).requires_grad_(True)
        generator(torch.randn(2, 8), torch.eye(2)).square().sum().backward()
        assert [name for name, p in generator.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []

    def test_of_ws_against_finite_differences(self):
        generator = make(resolution=8, conv_clamp=None).double()
        ws = draw(generator, 1).requires_grad_(True)
        assert torch.autograd.gradcheck(lambda value: generator.synthesis(value).sum(dim=(1, 2, 3)), (ws,))
