"""The discriminator: sizes, classes, precision, and that R1 can differentiate it twice."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from relatent.core.errors import ShapeError, UsageError
from stylegan import Discriminator, DiscriminatorConfig

SMALL = DiscriminatorConfig(resolution=16, channel_base=128, channel_max=8)


def make(**changes):
    torch.manual_seed(0)
    return Discriminator(dataclasses.replace(SMALL, **changes))


@pytest.mark.parametrize("resolution", [8, 16, 32, 64])
def test_one_logit_a_picture(resolution):
    assert make(resolution=resolution)(torch.randn(4, 3, resolution, resolution)).shape == (4, 1)


def test_published_1024_px_network_has_its_29_million_parameters():
    with torch.device("meta"):
        judge = Discriminator(DiscriminatorConfig(resolution=1024))
    assert sum(p.numel() for p in judge.parameters()) == 29_012_513


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 1, 16, 16), (3, 16, 16)])
def test_wrong_pictures(shape):
    with pytest.raises(ShapeError, match=r"expected \[N, 3, 16, 16\]"):
        make()(torch.zeros(shape))


def test_classes():
    judge, images = make(c_dim=3), torch.randn(1, 3, 16, 16).repeat(3, 1, 1, 1)
    logits = judge(images, torch.eye(3))
    assert logits.shape == (3, 1)
    assert logits.std() > 1e-3
    with pytest.raises(UsageError, match="3 classes and none was given"):
        judge(images)
    with pytest.raises(ShapeError, match=r"expected \[3, 3\]"):
        judge(images, torch.zeros(3, 4))
    with pytest.raises(UsageError, match="has none"):
        make()(images, torch.eye(3))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("resolution", 7),
        ("c_dim", -1),
        ("channel_base", 2**21),
        ("channel_max", 0),
        ("group_size", 0),
        ("conv_clamp", 0),
    ],
)
def test_impossible_configurations_are_refused(field, value):
    with pytest.raises(UsageError, match=field):
        dataclasses.replace(SMALL, **{field: value})


def test_a_picture_is_judged_beside_its_group():
    """The minibatch statistic: equal pictures in a batch look suspicious."""
    judge, image = make(), torch.randn(1, 3, 16, 16)
    alone_four_times = judge(image.repeat(4, 1, 1, 1))
    among_others = judge(torch.cat([image, torch.randn(3, 3, 16, 16)]))
    assert torch.allclose(alone_four_times, alone_four_times[:1].expand(4, 1), atol=1e-5)
    assert (alone_four_times[0] - among_others[0]).abs() > 1e-4


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.01), (torch.bfloat16, 0.1)])
def test_half_is_near_float32(tiny_discriminator, dtype, tolerance):
    images = torch.randn(8, 3, 32, 32)
    expected = tiny_discriminator(images)
    found = tiny_discriminator(images, dtype=dtype)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < tolerance * max(1, expected.abs().max())


def test_memory_format(tiny_discriminator):
    images = torch.randn(4, 3, 32, 32)
    expected = tiny_discriminator(images)
    tiny_discriminator.to(memory_format=torch.channels_last)
    found = tiny_discriminator(images.to(memory_format=torch.channels_last))
    assert torch.allclose(found, expected, atol=1e-5)


def test_second_derivative_against_finite_differences():
    """The gradient of R1 with respect to a weight, which training follows."""
    judge = make(resolution=8, channel_base=16, channel_max=2, conv_clamp=None).double()
    images = torch.randn(2, 3, 8, 8).double().requires_grad_(True)

    def penalty():
        (gradient,) = torch.autograd.grad(judge(images).sum(), images, create_graph=True)
        return gradient.square().sum()

    weight = judge.blocks["8"].conv1.weight
    (exact,) = torch.autograd.grad(penalty(), weight)
    step = torch.zeros_like(weight)
    for place in ((0, 0, 1, 1), (1, 1, 0, 2)):
        step.zero_()
        step[place] = 1e-6
        with torch.no_grad():
            weight.add_(step)
        above = penalty()
        with torch.no_grad():
            weight.sub_(2 * step)
        below = penalty()
        with torch.no_grad():
            weight.add_(step)
        assert ((above - below) / 2e-6).item() == pytest.approx(exact[place].item(), rel=1e-5)
