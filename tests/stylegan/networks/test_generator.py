"""Generators of all sizes, and their mapping: latents, classes, truncation."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from drawing import SMALL, draw, make

from relatent.core.errors import ShapeError, UsageError
from stylegan import Generator, GeneratorConfig


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
        image = make(img_channels=1)(torch.randn(1, 8))
        assert image.shape == (1, 3, 16, 16)
        assert torch.equal(image[:, 0], image[:, 1])
        assert torch.equal(image[:, 0], image[:, 2])

    def test_mapping_multiplier_reaches_the_layers(self):
        assert {layer.lr_multiplier for layer in make().mapping.layers} == {0.01}
        assert {layer.lr_multiplier for layer in make(mapping_lr_multiplier=0.5).mapping.layers} == {0.5}

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("resolution", value) for value in (7, 4, 2048, 64.0, "64", True, None)),
            *((name, value) for name in ("z_dim", "w_dim", "channel_max") for value in (0, -1, 16385)),
            *(("img_channels", value) for value in (0, 2, 4, 96, True, 3.0, None)),
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
        assert torch.equal(first, tiny_generator.sample_w(np.int64(5), seed=np.uint8(1)))

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

    @pytest.mark.parametrize("psi", [math.nan, math.inf, 1e39, "0.7", None])
    def test_impossible_psi(self, tiny_generator, psi):
        with pytest.raises(UsageError, match="the truncation is"):
            tiny_generator.mapping(torch.randn(1, 16), truncation_psi=psi)

    @pytest.mark.parametrize("cutoff", [-1, 9, 2.0])
    def test_impossible_cutoff(self, tiny_generator, cutoff):
        with pytest.raises(UsageError, match="truncation_cutoff"):
            tiny_generator.mapping(torch.randn(1, 16), truncation_psi=0.5, truncation_cutoff=cutoff)

    def test_the_generator_itself_passes_it_on(self, tiny_generator):
        z = torch.randn(1, 16)
        ws = tiny_generator.mapping(z, None, 0.5, 3)
        assert torch.equal(tiny_generator(z, None, 0.5, 3, "none"), tiny_generator.synthesis(ws, "none"))


def test_w_spread_by_hand(tiny_generator):
    w = tiny_generator.sample_w(10_000, 123)
    expected = ((w - w.mean(0)) ** 2).sum(1).mean() ** 0.5
    assert tiny_generator.w_std() == pytest.approx(expected.item(), rel=1e-5)
