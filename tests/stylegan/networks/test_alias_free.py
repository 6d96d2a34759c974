"""Alias-free generators: their plan, what equivariance promises, and that they are driven as any other."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from drawing import draw, relative

from relatent.core.errors import ShapeError, UnknownNameError, UsageError
from stylegan import AliasFreeConfig, Generator
from stylegan.networks.alias_free_plan import plan_bands, plan_layers

ROTATION = {"conv_kernel": 1, "use_radial_filters": True}
PUBLISHED_ROTATION = {**ROTATION, "channel_base": 65536, "channel_max": 1024}
INNER = (slice(None), slice(None), slice(6, -6), slice(6, -6))
QUARTER_TURN = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


class TestPlan:
    def test_published_256_px_network(self):
        bands = plan_bands(AliasFreeConfig(resolution=256))
        assert [f"{band.size}_{band.channels}" for band in bands] == [
            "36_512", "36_512", "36_512", "52_512", "52_512", "84_512", "84_512", "148_512", "148_512", "148_362",
            "276_256", "276_181", "276_128", "256_128", "256_3",
        ]  # fmt: skip

    @pytest.mark.parametrize(("changes", "count"), [({}, 22_313_167), (PUBLISHED_ROTATION, 15_093_151)])
    def test_published_1024_px_networks_have_their_parameters(self, changes, count):
        with torch.device("meta"):
            generator = Generator(AliasFreeConfig(resolution=1024, **changes))
        assert sum(p.numel() for p in generator.parameters()) == count
        assert generator.num_ws == 16

    @pytest.mark.parametrize("resolution", [8, 16, 64, 1024])
    @pytest.mark.parametrize("num_layers", [2, 3, 14, 40])
    @pytest.mark.parametrize("margin_size", [0, 7, 10])
    @pytest.mark.parametrize("conv_kernel", [1, 3])
    def test_layers_fit_together(self, resolution, num_layers, margin_size, conv_kernel):
        config = AliasFreeConfig(
            resolution=resolution,
            num_layers=num_layers,
            num_critical=1,
            margin_size=margin_size,
            conv_kernel=conv_kernel,
        )
        plans = plan_layers(config)
        assert len(plans) == num_layers + 1
        assert all(before.after == after.before for before, after in itertools.pairwise(plans))
        assert plans[-1].after == dataclasses.replace(plans[-2].after, channels=3)
        assert (plans[-1].after.size, plans[-1].after.rate) == (resolution, resolution)
        for plan in plans[:-1]:
            assert plan.before.rate * plan.up == plan.after.rate * plan.down == plan.working_rate
            assert plan.crop >= 0
            assert plan.after.half_width >= 0

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("resolution", 48),
            ("w_dim", 0),
            ("num_layers", 1),
            ("num_layers", 65),
            ("num_layers", 4.0),
            ("num_critical", 0),
            ("num_critical", 14),
            ("first_cutoff", 0.0),
            ("first_cutoff", 65.0),
            ("first_cutoff", math.nan),
            ("first_stopband", 2.0),
            ("first_stopband", 200.0),
            ("last_stopband_rel", 0.9),
            ("last_stopband_rel", math.inf),
            ("margin_size", -1),
            ("margin_size", 10**6),
            ("output_scale", 0),
            ("conv_kernel", 5),
            ("conv_kernel", True),
            ("use_radial_filters", 1),
            ("conv_clamp", 0),
            ("channel_base", 0),
        ],
    )
    def test_impossible_configurations_are_refused(self, field, value):
        with pytest.raises(UsageError, match=field) as error:
            AliasFreeConfig(**{field: value})
        assert "expected" in str(error.value)


class TestEquivariance:
    @pytest.mark.parametrize("changes", [{}, ROTATION])
    def test_moved_pattern_moves_the_picture(self, tiny_alias_free, changes):
        generator = tiny_alias_free(**changes)
        ws = draw(generator)
        still = generator.synthesis(ws)
        generator.synthesis.input.transform[:2, 2] = torch.tensor([-3.0, 2.0]) / 32
        moved = generator.synthesis(ws)
        assert relative(moved[INNER], still.roll((-2, 3), (2, 3))[INNER]) < 3e-4
        assert relative(moved[INNER], still[INNER]) > 0.1

    def test_turned_pattern_turns_the_picture_of_a_rotation_network(self, tiny_alias_free):
        for generator, turns in ((tiny_alias_free(**ROTATION), True), (tiny_alias_free(), False)):
            ws = draw(generator)
            still = generator.synthesis(ws)
            generator.synthesis.input.transform.copy_(QUARTER_TURN)
            difference = relative(generator.synthesis(ws), still.rot90(1, (2, 3)))
            assert (difference < 1e-5) == turns

    def test_w_places_the_picture(self, tiny_alias_free):
        """The first w says a turn and a shift; the same said by hand gives the same picture."""
        generator = tiny_alias_free()
        pattern, ws = generator.synthesis.input, draw(generator, 1)
        by_w = generator.synthesis(ws)
        c, s, x, y = (pattern.affine(ws[:, 0])[0] / pattern.affine(ws[:, 0])[0, :2].norm()).tolist()
        turn = torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
        shift = torch.tensor([[1, 0, -x], [0, 1, -y], [0, 0, 1.0]])
        pattern.affine.weight.zero_()
        assert relative(generator.synthesis(ws), by_w) > 0.1
        pattern.transform.copy_(turn @ shift)
        assert relative(generator.synthesis(ws), by_w) < 1e-5

    def test_waves_beyond_the_rate_fade_out(self, tiny_alias_free):
        generator = tiny_alias_free()
        generator.synthesis.input.transform[:2, :2] *= 100
        pattern = generator.synthesis.input(draw(generator)[:, 0])
        assert pattern.abs().max() < 0.2 * tiny_alias_free().synthesis.input(draw(generator)[:, 0]).abs().max()


def layer_by_definition(layer, x, w):
    """One layer on one sample as the paper words it: weights modulated, zeros inserted, everything in its order."""
    plan, weight = layer.plan, layer.weight[None] * layer.affine(w)[:, None, :, None, None]
    weight = (weight * weight.square().sum(dim=(2, 3, 4), keepdim=True).rsqrt())[0] * layer.magnitude_ema.rsqrt()
    x = F.conv2d(x, weight, layer.bias, padding=plan.kernel - 1)
    spread = x.new_zeros(1, x.shape[1], x.shape[2] * plan.up, x.shape[3] * plan.up)
    spread[:, :, :: plan.up, :: plan.up] = x * plan.up**2
    total = (plan.after.size - 1) * plan.down + 1 - spread.shape[2] + 6 * plan.up + 6 * plan.down - 2
    before = (total + plan.up) // 2
    filters = [f if f.ndim == 2 else torch.outer(f, f) for f in (layer.up_filter, layer.down_filter)]
    up, down = (f.expand(x.shape[1], 1, *f.shape) for f in filters)
    x = F.conv2d(F.pad(spread, [before, total - before] * 2), up, groups=x.shape[1])
    x = (F.leaky_relu(x, 0.2) * math.sqrt(2)).clamp(-layer.clamp, layer.clamp)
    return F.conv2d(x, down, stride=plan.down, groups=x.shape[1])


class TestDrawing:
    @pytest.mark.parametrize("changes", [{}, ROTATION, {"margin_size": 3}])
    def test_layers_do_what_the_paper_says(self, tiny_alias_free, changes):
        generator = tiny_alias_free(**changes, conv_clamp=1.0).double()
        for layer in generator.synthesis.layers[:-1]:
            band = layer.plan.before
            layer.bias.normal_(generator=torch.Generator().manual_seed(0))
            x = torch.randn(1, band.channels, band.size, band.size, dtype=torch.float64)
            w = torch.randn(1, 24, dtype=torch.float64)
            assert relative(layer(x, w), layer_by_definition(layer, x, w)) < 1e-6

    @pytest.mark.parametrize("changes", [{}, ROTATION, {"num_layers": 7, "num_critical": 3, "img_channels": 1}])
    def test_draws(self, tiny_alias_free, changes):
        generator = tiny_alias_free(**changes)
        ws = draw(generator)
        assert ws.shape == (2, changes.get("num_layers", 4) + 2, 24)
        image = generator.synthesis(ws)
        assert image.shape == (2, 3, 32, 32)
        assert image.dtype == torch.float32
        assert image.isfinite().all()
        assert image.is_contiguous()
        assert image.std() > 0.01

    def test_classes_and_truncation(self, tiny_alias_free):
        generator = tiny_alias_free(c_dim=3)
        z = torch.randn(1, 16)
        one, other = (generator(z, torch.eye(3)[[k]]) for k in (0, 1))
        assert relative(one, other) > 0.05
        average = generator(z, torch.eye(3)[[0]], truncation_psi=0)
        assert torch.equal(average, generator.synthesis(generator.w_avg.expand(1, 6, -1)))

    def test_two_are_twice_one(self, tiny_alias_free):
        generator = tiny_alias_free()
        ws = draw(generator)
        both = generator.synthesis(ws)
        assert relative(both, torch.cat([generator.synthesis(ws[:1]), generator.synthesis(ws[1:])])) < 1e-5
        assert relative(both[:1], both[1:]) > 0.1

    @pytest.mark.parametrize("changes", [{}, ROTATION])
    def test_gradients_reach_every_w_and_are_right(self, tiny_alias_free, changes):
        generator = tiny_alias_free(**changes, conv_clamp=1.0).double()  # some activations are clamped
        ws = draw(generator, 1).requires_grad_(True)
        direction = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)).double()
        (gradient,) = torch.autograd.grad((generator.synthesis(ws) * direction).sum(), ws)
        assert (gradient.abs().amax(dim=2) > 0).all()
        step = torch.randn(ws.shape, generator=torch.Generator().manual_seed(2)).double() * 1e-6
        with torch.no_grad():
            change = generator.synthesis(ws + step) - generator.synthesis(ws - step)
        assert (change * direction).sum().item() / 2 == pytest.approx((gradient * step).sum().item(), rel=1e-3)

    def test_recording_gradients_changes_nothing(self, tiny_alias_free):
        generator = tiny_alias_free(conv_clamp=0.5)
        ws = draw(generator)
        features = generator.synthesis.input(ws[:, 0])
        before = features.clone()
        with torch.no_grad():
            plain = generator.synthesis.layers[0](features, ws[:, 1])
        recorded = generator.synthesis.layers[0](features, ws[:, 1].clone().requires_grad_(True))
        assert torch.equal(plain, recorded)
        assert torch.equal(features, before)  # what works in place must not reach the caller's tensor

    def test_weights_can_be_trained(self, tiny_alias_free):
        generator = tiny_alias_free().requires_grad_(True)
        generator.synthesis(draw(generator)).square().sum().backward()
        untouched = [name for name, p in generator.synthesis.named_parameters() if p.grad is None or not p.grad.any()]
        assert untouched == []

    def test_clamp_and_output_scale_bound_the_picture(self, tiny_alias_free):
        ws = draw(tiny_alias_free())
        clamped = tiny_alias_free(conv_clamp=0.01).synthesis(ws)
        assert clamped.abs().max() == pytest.approx(0.0025)
        free, wide = tiny_alias_free(conv_clamp=None).synthesis(ws), tiny_alias_free(conv_clamp=1e6).synthesis(ws)
        assert torch.equal(free, wide)

    @pytest.mark.parametrize("index", [0, -1])
    def test_magnitude_divides_what_comes_in(self, tiny_alias_free, index):
        layer = tiny_alias_free(conv_clamp=None).synthesis.layers[index]
        x, w = torch.randn(1, layer.plan.before.channels, *[layer.plan.before.size] * 2), torch.randn(1, 24)
        layer.magnitude_ema.fill_(1)
        one = layer(x, w)
        layer.magnitude_ema.fill_(16)
        assert relative(layer(x, w), one / 4) < 1e-5

    @pytest.mark.parametrize(
        ("dtype", "tolerance"), [(torch.float16, 0.01), (torch.bfloat16, 0.1), (torch.float64, 1e-5)]
    )
    def test_other_precisions(self, tiny_alias_free, dtype, tolerance):
        generator = tiny_alias_free()
        ws = draw(generator)
        expected = generator.synthesis(ws)
        if dtype == torch.float64:
            generator, dtype = copy.deepcopy(generator).double(), torch.float32
        assert relative(generator.synthesis(ws, dtype=dtype).float(), expected) < tolerance


class TestInterface:
    def test_noise_of_every_mode_is_none(self, tiny_alias_free):
        generator = tiny_alias_free()
        ws = draw(generator)
        assert generator.synthesis.noise_buffers == []
        pictures = [generator.synthesis(ws, mode) for mode in ("const", "random", "none")]
        pictures += [generator.synthesis(ws, noise=[]), generator.synthesis(ws, noise=())]
        assert all(torch.equal(picture, pictures[0]) for picture in pictures)

    def test_what_cannot_be_drawn(self, tiny_alias_free):
        generator = tiny_alias_free()
        ws = draw(generator)
        with pytest.raises(UnknownNameError, match="did you mean none"):
            generator.synthesis(ws, "nine")
        with pytest.raises(ShapeError, match="reads none"):
            generator.synthesis(ws, noise=[torch.zeros(1, 1, 4, 4)])
        for wrong in (ws[0], ws[:, 1:], ws[..., 1:]):
            with pytest.raises(ShapeError, match=r"expected \[N, 6, 24\]"):
                generator.synthesis(wrong)

    def test_sizes(self, tiny_alias_free):
        generator = tiny_alias_free()
        assert (generator.resolution, generator.z_dim, generator.w_dim, generator.c_dim) == (32, 16, 24, 0)
        assert generator.num_ws == 6
        assert (generator.alignment.scale, generator.alignment.shift) == (1, 0)
        assert generator.sample_w(5, seed=0).shape == (5, 24)
        assert torch.allclose(generator.w_avg, generator.sample_w(10_000, seed=123).mean(dim=0), atol=1e-6)
