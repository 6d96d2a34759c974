import pytest
import torch

from relatent.core.errors import ShapeError
from stylegan.training.metrics import frechet_distance, kernel_distance, mean_pairwise_distance


def normal(count, dims, seed, shift=0.0, scale=1.0):
    return torch.randn(count, dims, generator=torch.Generator().manual_seed(seed)) * scale + shift


def test_frechet_of_equal_sets_is_zero():
    a = normal(50, 8, 0)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_against_the_closed_form_of_gaussians():
    # one dimension: (m1 - m2)^2 + (s1 - s2)^2, with the sample's own mean and deviation
    a, b = normal(400, 1, 0, shift=1), normal(300, 1, 1, shift=3, scale=2)
    expected = (a.double().mean() - b.double().mean()) ** 2 + (a.double().std() - b.double().std()) ** 2
    assert frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-9)


def test_frechet_with_fewer_pictures_than_dimensions():
    assert frechet_distance(normal(10, 32, 0), normal(12, 32, 1)) > 0


def test_frechet_sees_a_rotated_covariance():
    a = normal(4000, 2, 0) * torch.tensor([3.0, 0.3])
    assert frechet_distance(a, a.flip(1)) > 5


def test_kernel_distance_by_hand():
    a, b = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [3.0]])
    # k(x, y) = (xy + 1)^3: a: k(1,2) = 27; b: k(0,3) = 1; across: 1, 64, 1, 343 -> mean 102.25
    assert kernel_distance(a, b) == pytest.approx(27 + 1 - 2 * 102.25)


def test_kernel_distance_is_unbiased_and_grows():
    same = kernel_distance(normal(500, 16, 0), normal(500, 16, 1))
    moved = kernel_distance(normal(500, 16, 0), normal(500, 16, 1, shift=0.5))
    assert abs(same) < 0.02
    assert moved > 5 * abs(same)


def test_pairwise_distance_by_hand():
    images = torch.stack([torch.zeros(3, 4, 4), torch.ones(3, 4, 4), torch.ones(3, 4, 4)])
    # pairs: 1, 1, 0 -> mean square 2/3
    assert mean_pairwise_distance(images) == pytest.approx((2 / 3) ** 0.5)


def test_shapes_are_checked():
    with pytest.raises(ShapeError):
        frechet_distance(torch.zeros(1, 4), torch.zeros(5, 4))
