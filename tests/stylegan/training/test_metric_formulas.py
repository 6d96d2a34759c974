"""Scores of sets of pictures, by hand and against torch-fidelity on the same features."""

import math

import numpy as np
import pytest
import torch

from relatent.core.errors import ShapeError
from stylegan.training.metrics import frechet_distance, inception_score, kernel_distance, precision_recall


def normal(count, dims, seed, shift=0.0):
    return torch.randn(count, dims, generator=torch.Generator().manual_seed(seed)) + shift


class TestInceptionScore:
    def test_sure_and_even_classes_give_their_number(self):
        logits = 50 * torch.eye(4).repeat(5, 1)
        assert inception_score(logits, splits=1) == pytest.approx(4)

    def test_no_class_gives_one(self):
        assert inception_score(torch.zeros(20, 7), splits=2) == pytest.approx(1)

    def test_by_hand(self):
        p = np.array([[0.8, 0.2], [0.4, 0.6]])
        mean = p.mean(axis=0)
        expected = math.exp(np.mean([sum(row * np.log(row / mean)) for row in p]))
        assert inception_score(torch.from_numpy(np.log(p)), splits=1) == pytest.approx(expected)

    def test_more_parts_than_pictures(self):
        with pytest.raises(ShapeError, match="at least 10"):
            inception_score(torch.zeros(9, 3))


class TestPrecisionRecall:
    def test_by_hand(self):
        # With one neighbour, real 0 and 1 reach 1, and 10 reaches 9; generated 1.5 and 2 reach 0.5, and 30 reaches 28.
        real, generated = torch.tensor([[0.0], [1.0], [10.0]]), torch.tensor([[1.5], [2.0], [30.0]])
        precision, recall = precision_recall(generated, real, neighbours=1)
        assert precision == pytest.approx(2 / 3)  # 1.5 and 2 lie within 1 of 1; 30 is 20 from 10
        assert recall == pytest.approx(2 / 3)  # 1 lies within 0.5 of 1.5, 10 within 28 of 30, and 0 in no ball

    def test_equal_sets(self):
        a = normal(30, 4, 0)
        assert precision_recall(a, a) == (1, 1)

    def test_a_collapsed_generator_is_precise_and_recalls_little(self):
        real = normal(300, 4, 0)
        precision, recall = precision_recall(real[:1] + 0.01 * normal(30, 4, 1), real)
        assert precision == 1
        assert recall < 0.5

    def test_too_few(self):
        with pytest.raises(ShapeError, match="at least 4"):
            precision_recall(normal(3, 2, 0), normal(9, 2, 0))


class TestAgainstTorchFidelity:
    a, b = normal(60, 16, 0), normal(50, 16, 1, shift=0.3)

    def test_frechet(self):
        fid = pytest.importorskip("torch_fidelity.metric_fid")
        ours = frechet_distance(self.a, self.b)
        statistics = [fid.fid_features_to_statistics(x.double()) for x in (self.a, self.b)]
        theirs = fid.fid_statistics_to_metric(*statistics, verbose=False)
        assert ours == pytest.approx(theirs["frechet_inception_distance"], rel=1e-6)

    def test_kernel(self):
        kid = pytest.importorskip("torch_fidelity.metric_kid")
        a = self.a[:50]
        theirs = kid.kid_features_to_metric(
            a.double(), self.b.double(), kid_subsets=1, kid_subset_size=50, verbose=False
        )
        assert kernel_distance(a, self.b) == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-6)

    def test_inception_score(self):
        isc = pytest.importorskip("torch_fidelity.metric_isc")
        theirs = isc.isc_features_to_metric(self.a, splits=10, shuffle=False)
        assert inception_score(self.a) == pytest.approx(theirs["inception_score_mean"], rel=1e-9)

    def test_precision_and_recall(self):
        prc = pytest.importorskip("torch_fidelity.metric_prc")
        theirs = prc.prc_features_to_metric(self.a.double(), self.b.double(), verbose=False)
        precision, recall = precision_recall(self.a, self.b)
        assert 0 < recall < 1
        assert (precision, recall) == pytest.approx((theirs["precision"], theirs["recall"]), abs=1e-6)
