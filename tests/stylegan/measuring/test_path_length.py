import math

import pytest
import torch

from relatent.core.errors import ShapeError
from stylegan.measuring.path_length import lerp, path_length, slerp, step_lengths, trimmed_mean
from stylegan.networks.backbone import load_backbone


def squared(a, b):
    return (a - b).square().sum(dim=1)


def test_a_linear_generator_has_the_squared_length_of_the_path():
    a, b = torch.tensor([[0.0, 0.0]], dtype=torch.float64), torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    found = step_lengths(a, b, torch.tensor([0.3]).double(), lerp, lambda w: 2 * w, squared, 1e-4)
    assert float(found) == pytest.approx(4 * 25, rel=1e-6)


def test_on_the_sphere_it_is_the_squared_arc():
    a, b = torch.tensor([[5.0, 0.0]], dtype=torch.float64), torch.tensor([[0.0, 0.1]], dtype=torch.float64)
    found = step_lengths(a, b, torch.tensor([0.0]).double(), slerp, lambda z: z, squared, 1e-4)
    assert float(found) == pytest.approx((math.pi / 2) ** 2 * 2, rel=1e-6)  # a quarter of a circle of radius sqrt(2)


def test_interpolations_begin_and_end_where_they_should():
    a, b = torch.randn(5, 8, generator=torch.Generator().manual_seed(0)).double(), torch.ones(5, 8).double()
    assert torch.allclose(lerp(a, b, torch.ones(5)), b)
    assert torch.allclose(slerp(a, b, torch.zeros(5)), torch.nn.functional.normalize(a, dim=1) * 8**0.5)
    assert torch.allclose(slerp(a, b, torch.ones(5)), b, atol=1e-9)


def test_outliers_do_not_count():
    values = torch.ones(200, dtype=torch.float64)
    values[7] = 1e9
    assert trimmed_mean(values) == 1
    assert trimmed_mean(torch.tensor([1.0, 3.0])) == 2
    with pytest.raises(ShapeError, match="no path lengths"):
        trimmed_mean(torch.zeros(0))


@pytest.mark.parametrize("space", ["z", "w"])
def test_of_a_network(tiny_generator, space):
    found = [
        path_length(tiny_generator, load_backbone(), space=space, full=full, pairs=6, seed=1) for full in (True, False)
    ]
    assert all(value > 0 for value in found)
    assert found[0] != found[1]


def test_a_network_that_draws_one_picture_has_no_paths(tiny_generator):
    tiny_generator.synthesis.forward = lambda ws, *rest: torch.zeros(len(ws), 3, 32, 32)
    assert path_length(tiny_generator, load_backbone(), space="w", full=True, pairs=3, seed=1) == 0
