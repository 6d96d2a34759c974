"""Losses against the loops, R1 against a known gradient, and the statistics of style mixing (loss.py)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference
import torch

from relatent.core.errors import UsageError
from stylegan.training import loss as gan_loss
from stylegan.training.loss import GanLossWeights

LOGITS = torch.tensor([[-30.0], [-2.5], [-0.1], [0.0], [0.7], [4.0], [30.0]], dtype=torch.float64)


def test_generator_loss():
    expected = [[reference.generator_loss(x)] for x in LOGITS.flatten().tolist()]
    np.testing.assert_allclose(gan_loss.generator_loss(LOGITS).numpy(), expected, rtol=1e-10, atol=1e-12)


def test_discriminator_loss():
    pairs = [(r, f) for r in LOGITS.flatten().tolist() for f in (-3.0, 0.0, 2.0)]
    expected = [[reference.discriminator_loss(r, f)] for r, f in pairs]
    real, fake = torch.tensor(pairs, dtype=torch.float64)[..., None].unbind(dim=1)
    np.testing.assert_allclose(gan_loss.discriminator_loss(real, fake).numpy(), expected, rtol=1e-10, atol=1e-12)


def test_losses_stay_finite_where_the_logarithms_do_not():
    assert gan_loss.generator_loss(torch.tensor([[-1e4]])) == 1e4
    assert gan_loss.discriminator_loss(torch.tensor([[-1e4]]), torch.tensor([[1e4]])) == 2e4


def test_loss_of_the_generator_does_not_saturate():
    """Its gradient is largest where the discriminator is sure; that of log(1 - D) would vanish there."""
    logits = torch.tensor([[-10.0], [10.0]], requires_grad=True)
    gan_loss.generator_loss(logits).sum().backward()
    assert logits.grad.tolist() == [[pytest.approx(-1, abs=1e-3)], [pytest.approx(0, abs=1e-3)]]


def test_r1_against_a_known_gradient():
    x, factors = torch.randn(3, 2, 4, 4).double().requires_grad_(True), torch.randn(2, 4, 4).double()
    logits = (factors * x**3).sum(dim=(1, 2, 3))[:, None]
    expected = reference.r1_of_cubes(x.detach().numpy(), factors.numpy())
    np.testing.assert_allclose(gan_loss.r1_penalty(logits, x).detach().numpy(), expected, rtol=1e-10)


def test_r1_can_be_learnt_from():
    x, gradient = torch.randn(3, 1, 2, 2).double().requires_grad_(True), torch.tensor(2.0).double().requires_grad_(True)
    penalty = gan_loss.r1_penalty((gradient * x).sum(dim=(1, 2, 3))[:, None], x).mean()  # 4 gradient^2
    assert penalty.item() == pytest.approx(16)
    (gradient,) = torch.autograd.grad(penalty, gradient)
    assert gradient.item() == pytest.approx(16)


class TestMixing:
    def crossovers(self, generator, probability, count=6000):
        """Where each sample changes from one w to another; num_ws if it does not."""
        torch.manual_seed(0)
        z = torch.randn(count, generator.z_dim)
        ws = gan_loss.mixed_ws(generator, z, None, probability)
        own = generator.mapping.map(z)
        from_own = (ws == own[:, None]).all(dim=2)
        assert from_own[:, 0].all()
        places = from_own.sum(dim=1)
        layers = torch.arange(generator.num_ws)
        assert torch.equal(from_own, layers[None] < places[:, None])  # one change, never back
        after = torch.where(from_own[:, :, None], torch.nan, ws)
        same = (after == after[:, -1:]) | after.isnan()
        assert same.all()  # and all later layers share the second w
        return places

    def test_share_and_uniform_place(self, tiny_generator):
        places = self.crossovers(tiny_generator, 0.9)
        shares = torch.bincount(places, minlength=9).double() / len(places)
        assert shares[0] == 0
        assert shares[8].item() == pytest.approx(0.1, abs=0.015)
        assert shares[1:8].tolist() == [pytest.approx(0.9 / 7, abs=0.015)] * 7

    def test_never_and_always(self, tiny_generator):
        assert (self.crossovers(tiny_generator, 0.0, 100) == 8).all()
        assert (self.crossovers(tiny_generator, 1.0, 100) < 8).all()

    def test_both_latents_share_the_class(self):
        from stylegan import Generator, GeneratorConfig

        generator = Generator(GeneratorConfig(resolution=8, z_dim=4, w_dim=4, c_dim=2, channel_base=8))
        seen = []
        generator.mapping.embed.register_forward_hook(lambda _module, inputs, _x: seen.append(inputs[0]))
        c = torch.eye(2)[[0, 1, 1]]
        gan_loss.mixed_ws(generator, torch.randn(3, 4), c, 0.9)
        assert torch.equal(seen[0], torch.cat([c, c]))

    def test_uses_the_same_amount_of_randomness_whatever_comes_out(self, tiny_generator):
        after = set()
        for probability in (0.0, 0.5, 1.0):
            torch.manual_seed(0)
            gan_loss.mixed_ws(tiny_generator, torch.randn(4, 16), None, probability)
            after.add(torch.rand(1).item())
        assert len(after) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("r1_gamma", -1), ("r1_gamma", math.nan), ("r1_interval", 0), ("r1_interval", 1.5), ("mixing_probability", 1.1)],
)
def test_impossible_rules_are_refused(field, value):
    with pytest.raises(UsageError, match=field):
        GanLossWeights(**{"r1_gamma": 1.0, field: value})
