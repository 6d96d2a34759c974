import math

import numpy as np
import pytest
import torch

from relatent.core.errors import DatasetError
from stylegan.measuring.separability import PictureClasses, attribute_logits, conditional_entropy, separability


def normal(count, dims, seed):
    return torch.randn(count, dims, generator=torch.Generator().manual_seed(seed))


def test_conditional_entropy_by_hand():
    y = np.array([1, 1, 0, 0, 1, 0], bool)
    x = np.array([1, 1, 1, 1, 0, 0], bool)
    assert conditional_entropy(y, x) == pytest.approx(math.log(2))
    assert conditional_entropy(y, y) == 0
    third = np.array([1, 1, 0], bool)  # H = -2/3 log 2/3 - 1/3 log 1/3
    expected = -(2 / 3) * math.log(2 / 3) - (1 / 3) * math.log(1 / 3)
    assert conditional_entropy(third, np.zeros(3, bool)) == pytest.approx(expected)


def test_an_attribute_on_a_plane_is_separated():
    latents = normal(400, 5, 0)
    assert separability(latents, latents[:, :1] * 3) == pytest.approx(1, abs=0.15)


def test_one_that_latents_do_not_tell_costs_a_factor_of_two():
    latents = normal(600, 5, 0)
    blind = normal(600, 1, 1)
    assert separability(latents, blind) == pytest.approx(2, abs=0.1)
    assert separability(latents, torch.cat([blind, latents[:, :1]], dim=1)) == pytest.approx(2, abs=0.3)


def test_many_dimensions_do_not_feign_separability():
    # A plane fitted to 60 latents in 200 dimensions separates anything; on latents it was not fitted to it cannot.
    assert separability(normal(120, 200, 0), normal(120, 1, 1)) > 1.7


def test_an_attribute_that_all_have_says_nothing():
    assert separability(normal(50, 3, 0), torch.ones(50, 1)) == 1


def test_attributes_are_one_class_against_all_others():
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1]]))
    assert torch.allclose(attribute_logits(logits).exp(), torch.tensor([[7 / 3, 1 / 4, 1 / 9]]).double())


def test_classes_are_the_labels_or_clusters():
    features = torch.cat([normal(40, 6, 0), normal(40, 6, 1) + 8])
    labels = torch.tensor([0] * 40 + [1] * 40)
    known = PictureClasses(features, labels)
    assert (known.logits(features).argmax(dim=1) == labels).all()
    assert "2 classes" in known.kind
    found = PictureClasses(features, None)
    assert found.logits(features).shape == (80, 10)
    assert "clusters" in found.kind


@pytest.mark.parametrize("seed", [-5, 2**32, -(2**63), 2**63 - 1])
def test_every_seed_makes_clusters(seed):
    assert PictureClasses(normal(40, 6, 0), None, seed).logits(normal(2, 6, 1)).shape == (2, 10)


def test_one_class_or_too_few_pictures():
    with pytest.raises(DatasetError, match="one class"):
        PictureClasses(normal(30, 3, 0), torch.zeros(30, dtype=torch.long))
    with pytest.raises(DatasetError, match="too few"):
        PictureClasses(normal(15, 3, 0), None)


def test_pictures_that_are_all_alike_have_no_clusters():
    with pytest.raises(DatasetError, match="all 30 real pictures are the same"):
        PictureClasses(normal(1, 3, 0).expand(30, -1), None)
    few = PictureClasses(normal(3, 3, 0).repeat(10, 1), None)
    assert few.kind.startswith("3 clusters")
