import math

import pytest
import torch

from stylegan.training.data import ada
from stylegan.training.data.ada import AugmentationStrength, ada_augment


def pictures(count=4, size=16, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def angle(degrees):
    return torch.tensor([math.radians(degrees)])


def test_strength_zero_is_the_identity():
    image = pictures()
    assert ada_augment(image, 0.0) is image


def test_full_strength_changes_each_picture_its_own_way():
    torch.manual_seed(0)
    image = pictures(1).repeat(4, 1, 1, 1)
    changed = ada_augment(image, 1.0)
    assert changed.shape == image.shape
    assert changed.isfinite().all()
    assert all((changed[i] - changed[j]).abs().max() > 0.1 for i in range(4) for j in range(i))


def test_the_kept_constants_have_the_precision_of_the_call():
    """A run in float64 and one in float32 in the same process, whichever comes first."""
    ada._grey_axis.cache_clear()
    for dtype in (torch.float64, torch.float32, torch.float64):
        torch.set_default_dtype(dtype)
        try:
            assert ada_augment(torch.rand(2, 3, 8, 8), 0.9).dtype == dtype
        finally:
            torch.set_default_dtype(torch.float32)


def test_about_a_share_p_is_changed():
    torch.manual_seed(0)
    # four colour parameters and the flip, each with p: the picture stays with (1 - p)^4 (1 - p / 2)
    matrix = ada._colour(4000, 0.1, torch.device("cpu"))
    same = (matrix - torch.eye(4)).abs().amax(dim=(1, 2)) < 1e-6
    assert same.float().mean().item() == pytest.approx(0.9**4 * 0.95, abs=0.03)


def test_identity_sampling_keeps_the_inside():
    smooth = torch.nn.functional.interpolate(pictures(2, 4), size=(32, 32), mode="bicubic")
    kept = ada._sample(smooth, torch.eye(3).repeat(2, 1, 1))
    # up and down again is a mild low-pass; zeros outside reach the last pixels
    assert (kept - smooth)[:, :, 4:-4, 4:-4].abs().max() < 0.05


def test_a_half_turn_turns():
    smooth = torch.nn.functional.interpolate(pictures(1, 4), size=(32, 32), mode="bicubic")
    turned = ada._sample(smooth, ada._rotation(angle(180)))
    assert (turned - smooth.flip(2, 3))[:, :, 4:-4, 4:-4].abs().max() < 0.05


def test_a_shift_shifts():
    smooth = torch.nn.functional.interpolate(pictures(1, 4), size=(32, 32), mode="bicubic")
    moved = ada._sample(smooth, ada._translation(torch.tensor([2 / 32 * 3]), torch.tensor([0.0])))
    assert (moved[..., 5:20, 5:20] - smooth[..., 5:20, 8:23]).abs().max() < 0.05


def test_hue_keeps_grey_and_turns_red_to_green():
    matrix = ada._hue_rotation(angle(120))[0, :3, :3]
    grey, red = torch.ones(3), torch.tensor([1.0, 0.0, 0.0])
    torch.testing.assert_close(matrix @ grey, grey)
    torch.testing.assert_close(matrix @ red, torch.tensor([0.0, 1.0, 0.0]), atol=1e-6, rtol=0)


def test_colour_of_grey_stays_grey():
    torch.manual_seed(1)
    matrix = ada._colour(50, 1.0, torch.device("cpu"))
    out = ada._apply_colour(torch.full((50, 3, 2, 2), 0.3), matrix)
    torch.testing.assert_close(out[:, 0], out[:, 1], atol=1e-5, rtol=0)
    torch.testing.assert_close(out[:, 0], out[:, 2], atol=1e-5, rtol=0)


def test_sampler_gradients_of_both_orders():
    torch.manual_seed(0)
    image = torch.rand(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    grid = torch.rand(1, 3, 3, 2, dtype=torch.float64) * 2 - 1

    def sample(x):
        return ada._Resample.apply(x, grid)

    assert torch.autograd.gradcheck(sample, (image,))
    assert torch.autograd.gradgradcheck(lambda x: sample(x) ** 2, (image,))


def test_r1_through_the_augmentation():
    torch.manual_seed(0)
    image = pictures(2, 8).requires_grad_()
    weight = torch.randn(1, 3, 8, 8, requires_grad=True)
    logits = (ada_augment(image, 0.9).square() * weight).sum(dim=(1, 2, 3))
    (gradient,) = torch.autograd.grad(logits.sum(), image, create_graph=True)
    gradient.square().sum().backward()
    assert weight.grad.isfinite().all()
    assert weight.grad.abs().max() > 0


def test_strength_follows_the_discriminator():
    strength = AugmentationStrength()
    strength.update(mean_sign=0.9, images=50_000)
    assert strength.p == pytest.approx(0.1)
    strength.update(mean_sign=0.1, images=25_000)
    assert strength.p == pytest.approx(0.05)
    strength.update(mean_sign=-1.0, images=500_000)
    assert strength.p == 0
    strength.update(mean_sign=1.0, images=900_000)
    assert strength.p == 1
