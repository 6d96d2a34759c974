"""Mapping and synthesis: sizes, classes, truncation, noise, style mixing, precision, gradients."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch

from core.errors import ShapeError, UnknownNameError, UsageError
from stylegan import Generator, GeneratorConfig

SMALL = GeneratorConfig(resolution=16, z_dim=8, w_dim=12, mapping_layers=2, channel_base=128, channel_max=8)


def make(**changes):
    torch.manual_seed(0)
    generator = Generator(dataclasses.replace(SMALL, **changes)).eval().requires_grad_(False)
    for layer in generator.synthesis.layers:
        layer.noise_strength.fill_(0.3)
    return generator


def draw(generator, count=2, seed=0):
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    return generator.mapping(z)


def relative(found, expected):
    return ((found - expected).abs().max() / expected.abs().max()).item()


class TestSizes:
    @pytest.mark.parametrize("resolution", [8, 16, 32, 64])
    def test_draws(self, resolution):
        generator = make(resolution=resolution)
        ws = draw(generator)
        assert ws.shape == (2, 2 * math.log2(resolution) - 2, 12)
        image = generator.synthesis(ws)
        assert image.shape == (2, 3, resolution, resolution)
        assert image.dtype == torch.float32
        assert image.isfinite().all()
        assert image.is_contiguous()

    @pytest.mark.parametrize("resolution", [128, 256, 512, 1024])
    def test_builds_at_full_size_without_memory(self, resolution):
        with torch.device("meta"):
            generator = Generator(GeneratorConfig(resolution=resolution))
            ws = generator.mapping(torch.empty(1, 512))
            image = generator.synthesis(ws)
        assert generator.num_ws == ws.shape[1] == 2 * math.log2(resolution) - 2
        assert image.shape == (1, 3, resolution, resolution)
        assert [layer.resolution for layer in generator.synthesis.layers][-2:] == [resolution, resolution]
        assert generator.synthesis.layers[-1].weight.shape[0] == min(32768 // resolution, 512)

    def test_published_1024_px_network_has_its_30_million_parameters(self):
        with torch.device("meta"):
            generator = Generator(GeneratorConfig(resolution=1024))
        assert sum(p.numel() for p in generator.parameters()) == 30_370_060

    @pytest.mark.parametrize(("z_dim", "w_dim", "depth"), [(8, 12, 1), (12, 8, 3), (5, 5, 8)])
    def test_latent_sizes_and_depths(self, z_dim, w_dim, depth):
        generator = make(z_dim=z_dim, w_dim=w_dim, mapping_layers=depth)
        assert (generator.z_dim, generator.w_dim, len(generator.mapping.layers)) == (z_dim, w_dim, depth)
        assert generator.w_avg.shape == (w_dim,)
        assert generator(torch.randn(3, z_dim)).shape == (3, 3, 16, 16)

    def test_channels(self):
        config = dataclasses.replace(SMALL, resolution=32, channel_base=64, channel_max=6)
        assert config.channels == {4: 6, 8: 6, 16: 4, 32: 2}
        assert dataclasses.replace(config, channel_base=8).channels == {4: 2, 8: 1, 16: 1, 32: 1}

    def test_other_channels_of_pictures(self):
        assert make(img_channels=1)(torch.randn(1, 8)).shape == (1, 1, 16, 16)

    def test_mapping_multiplier_reaches_the_layers(self):
        assert {layer.lr_multiplier for layer in make().mapping.layers} == {0.01}
        assert {layer.lr_multiplier for layer in make(mapping_lr_multiplier=0.5).mapping.layers} == {0.5}

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("resolution", value) for value in (7, 4, 2048, 64.0, "64", True, None)),
            *((name, value) for name in ("z_dim", "w_dim", "channel_max", "img_channels") for value in (0, -1, 16385)),
            ("c_dim", -1),
            ("c_dim", 10**9),
            ("z_dim", 16.0),
            ("z_dim", True),
            ("mapping_layers", 0),
            ("mapping_layers", 65),
            ("channel_base", 2**20 + 1),
            ("mapping_lr_multiplier", 0),
            ("mapping_lr_multiplier", math.nan),
            ("mapping_lr_multiplier", "0.01"),
            ("conv_clamp", -1.0),
            ("conv_clamp", math.inf),
            ("style_method", "sgd"),
            ("style_method", ["adain"]),
        ],
    )
    def test_impossible_configurations_are_refused(self, field, value):
        with pytest.raises(UsageError, match=field) as error:
            dataclasses.replace(SMALL, **{field: value})
        assert "expected" in str(error.value)


class TestLatents:
    @pytest.mark.parametrize("shape", [(2, 7), (8,), (1, 2, 8)])
    def test_wrong_z(self, shape):
        with pytest.raises(ShapeError, match=r"expected \[N, 8\]"):
            make().mapping(torch.zeros(shape))

    @pytest.mark.parametrize("shape", [(2, 6), (2, 5, 12), (2, 6, 11)])
    def test_wrong_ws(self, shape):
        with pytest.raises(ShapeError, match=r"expected \[N, 6, 12\]"):
            make().synthesis(torch.zeros(shape))

    def test_size_of_z_does_not_matter(self):
        generator, z = make(), torch.randn(2, 8)
        assert torch.allclose(generator.mapping(z), generator.mapping(z * 7), atol=1e-5)

    def test_sample_w_is_repeatable_and_leaves_the_global_generator_alone(self, tiny_generator):
        state = torch.get_rng_state()
        first = tiny_generator.sample_w(5, seed=1)
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(first, tiny_generator.sample_w(5, seed=1))
        assert not torch.equal(first, tiny_generator.sample_w(5, seed=2))

    def test_w_avg_is_the_mean_of_10000(self, tiny_generator):
        expected = tiny_generator.sample_w(10_000, seed=123).double().mean(dim=0)
        assert torch.allclose(tiny_generator.w_avg.double(), expected, atol=1e-6)


class TestClasses:
    def test_missing(self):
        with pytest.raises(UsageError, match="3 classes and none was given"):
            make(c_dim=3).mapping(torch.zeros(2, 8))

    @pytest.mark.parametrize("shape", [(2, 4), (1, 3), (3,), (2, 3, 1)])
    def test_wrong_shape(self, shape):
        with pytest.raises(ShapeError, match=r"expected \[2, 3\]"):
            make(c_dim=3).mapping(torch.zeros(2, 8), torch.zeros(shape))

    def test_given_to_a_network_without_any(self):
        with pytest.raises(UsageError, match="has none"):
            make().mapping(torch.zeros(2, 8), torch.zeros(2, 3))
        make().mapping(torch.zeros(2, 8), torch.zeros(2, 0))  # how NVIDIA's tools say "none"

    def test_change_the_picture(self):
        generator, z = make(c_dim=3), torch.randn(1, 8).repeat(3, 1)
        images = generator(z, torch.eye(3))
        assert (images[0] - images[1]).abs().max() > 0.1
        assert (images[1] - images[2]).abs().max() > 0.1

    def test_w_avg_covers_all_classes(self):
        generator = make(c_dim=3)
        generator.recompute_w_avg(3000)
        z = torch.randn(3000, 8)
        means = [generator.mapping.map(z, torch.eye(3)[[k]].repeat(3000, 1)).mean(dim=0) for k in range(3)]
        assert torch.allclose(generator.w_avg, torch.stack(means).mean(dim=0), atol=0.1)


class TestTruncation:
    def test_psi_1_changes_nothing(self, tiny_generator):
        w = tiny_generator.sample_w(3, seed=0)
        assert torch.equal(tiny_generator.mapping.truncate(w, 1.0, 4), w[:, None].expand(-1, 8, -1))

    @pytest.mark.parametrize("psi", [0.0, 0.7])
    @pytest.mark.parametrize("cutoff", [None, 0, 3, 8])
    def test_psi_and_cutoff(self, tiny_generator, psi, cutoff):
        z = torch.randn(3, 16)
        w, average = tiny_generator.mapping.map(z), tiny_generator.w_avg
        ws = tiny_generator.mapping(z, truncation_psi=psi, truncation_cutoff=cutoff)
        expected = average + psi * (w - average)
        for layer in range(8):
            if cutoff is None or layer < cutoff:
                assert torch.allclose(ws[:, layer], expected, atol=1e-6)
            else:
                assert torch.equal(ws[:, layer], w)

    def test_psi_0_is_exactly_the_average(self, tiny_generator):
        ws = tiny_generator.mapping(torch.randn(3, 16), truncation_psi=0)
        assert torch.equal(ws, tiny_generator.w_avg.expand(3, 8, -1))

    @pytest.mark.parametrize("cutoff", [-1, 9, 2.0])
    def test_impossible_cutoff(self, tiny_generator, cutoff):
        with pytest.raises(UsageError, match="truncation_cutoff"):
            tiny_generator.mapping(torch.randn(1, 16), truncation_psi=0.5, truncation_cutoff=cutoff)

    def test_the_generator_itself_passes_it_on(self, tiny_generator):
        z = torch.randn(1, 16)
        ws = tiny_generator.mapping(z, None, 0.5, 3)
        assert torch.equal(tiny_generator(z, None, 0.5, 3, "none"), tiny_generator.synthesis(ws, "none"))


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
