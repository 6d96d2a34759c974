import sys

import pytest
import torch

from inversion.losses.loss import LossWeights, Target, delta_regularisation, noise_regularisation, renormalise
from inversion.losses.perceptual import _load, _silent_lpips, load_perceptual
from relatent.core.errors import ShapeError, UnknownNameError


@pytest.fixture(scope="module")
def perceptual():
    return load_perceptual()


def pictures(count, size=64, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_equals_the_lpips_package(perceptual):
    model = _silent_lpips("squeeze", heads=False)
    weights = {name.split(".", 1)[1]: name for name in model.net.state_dict()}  # "slice2.3.weight" is our "3.weight"
    model.net.load_state_dict({weights[name]: t for name, t in perceptual.net.features.state_dict().items()})
    for head in model.lins:
        torch.nn.init.ones_(head.model[-1].weight)
    a, b = pictures(3, seed=1), pictures(3, seed=2)
    torch.testing.assert_close(perceptual(a, b), model(a, b).flatten(), rtol=1e-4, atol=1e-6)


def test_embedded_distance_needs_no_lpips_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)  # importing it fails
    _load.cache_clear()
    assert load_perceptual()(pictures(1), pictures(1, seed=1)) > 0


def test_one_number_a_photo_whatever_its_company(perceptual):
    a, b = pictures(4, seed=1), pictures(4, seed=2)
    together = perceptual(a, b)
    assert together.shape == (4,)
    alone = torch.cat([perceptual(x, y) for x, y in zip(a.split(1), b.split(1), strict=True)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)
    assert perceptual(a, a).abs().max() == 0


def test_gradient_is_finite_on_flat_pictures(perceptual):
    flat = torch.zeros(1, 3, 64, 64, requires_grad=True)
    perceptual(flat, pictures(1)).sum().backward()
    assert flat.grad.isfinite().all()
    assert flat.grad.abs().max() > 0


@pytest.mark.parametrize("size", [8, 32, 512])
def test_other_sizes_are_brought_into_range(perceptual, size):
    assert perceptual(pictures(1, size), pictures(1, size, seed=1)).item() > 0


def test_bad_requests(perceptual):
    with pytest.raises(ShapeError):
        perceptual.features(torch.zeros(3, 64, 64))
    with pytest.raises(UnknownNameError, match="Known: alex, embedded"):
        load_perceptual("vg")


def test_target_terms(perceptual):
    photo, drawn = pictures(2, seed=3), pictures(2, seed=4)
    target = Target(photo, perceptual)
    expected = 2 * perceptual(drawn, photo) + 3 * (drawn - photo).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(target.terms(drawn, LossWeights(lpips=2, pixels=3)), expected)
    assert target.terms(photo, LossWeights(pixels=1)).abs().max() < 1e-6


def test_noise_regularisation_by_hand():
    ramp = torch.tensor([[1.0, 2.0], [3.0, 5.0]])[None, None]
    # shifted right: (1*2 + 2*1 + 3*5 + 5*3) / 4 = 8.5; shifted down: (1*3 + 2*5 + 3*1 + 5*2) / 4 = 6.5
    torch.testing.assert_close(noise_regularisation([ramp]), torch.tensor([8.5**2 + 6.5**2]))


def test_noise_regularisation_sees_pictures_at_every_scale():
    white = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    blocks = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)).repeat_interleave(8, 2)
    blocks = blocks.repeat_interleave(8, 3)
    assert noise_regularisation([white]).item() < 0.2  # 2 (1/64^2 + 1/32^2 + 1/16^2 + 1/8^2) is expected
    assert noise_regularisation([blocks]).item() > 10 * noise_regularisation([white]).item()
    pair = noise_regularisation([torch.cat([white, blocks])])
    torch.testing.assert_close(pair[:1], noise_regularisation([white]))


def test_renormalise():
    noise = [torch.rand(2, 1, 8, 8) * 5 + 3, torch.rand(2, 1, 16, 16)]
    renormalise(noise)
    for level in noise:
        torch.testing.assert_close(level.mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
        torch.testing.assert_close(level.var(dim=(1, 2, 3), correction=0), torch.ones(2))


def test_delta_regularisation_by_hand():
    ws = torch.tensor([[[0.0, 0.0], [2.0, 4.0]]])
    torch.testing.assert_close(delta_regularisation(ws), torch.tensor([(1 + 4 + 1 + 4) / 4]))
    assert delta_regularisation(torch.ones(1, 3, 2)).item() == 0


def test_bfloat16_is_close_and_knows_equality(perceptual):
    photo, drawn = pictures(2, seed=3), pictures(2, seed=4)
    exact = Target(photo, perceptual)
    target = Target(photo, perceptual, dtype=torch.bfloat16)
    assert not torch.equal(target.features[0], exact.features[0])
    assert {feature.dtype for feature in target.features} == {torch.float32}
    distance = target.perceptual_distance(drawn)
    assert distance.dtype == torch.float32
    torch.testing.assert_close(distance, exact.perceptual_distance(drawn), rtol=0.03, atol=0)
    assert target.perceptual_distance(photo).abs().max() == 0
    assert next(target.each()).dtype == torch.bfloat16
