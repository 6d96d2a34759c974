"""The second discriminator: what it sees, what it learns, and that it reaches the generator."""

from __future__ import annotations

import pytest
import torch

from relatent.core.errors import CheckpointError
from stylegan.networks.backbone import load_backbone
from stylegan.networks.feature_discriminator import FeatureDiscriminator, mean_over_features
from stylegan.training.loss import discriminator_loss
from stylegan.training.state import load_state, save_state


@pytest.fixture
def judge():
    torch.manual_seed(0)
    return FeatureDiscriminator(load_backbone())


def test_logits_at_each_position_of_three_features(judge):
    shapes = [tuple(logits.shape) for logits in judge(torch.zeros(2, 3, 64, 64))]
    assert shapes == [(2, 1, 15, 15), (2, 1, 3, 3), (2, 1, 3, 3)]


def test_heads_have_the_backbones_dtype_whatever_the_default_is(set_default_dtype):
    set_default_dtype(torch.float64)
    judge = FeatureDiscriminator(load_backbone())
    assert {logits.dtype for logits in judge(torch.zeros(1, 3, 64, 64))} == {torch.float32}


def test_grey_pictures_count_as_colour(judge):
    judge.eval()  # no power iteration of the spectral norm between the two
    grey = torch.rand(2, 1, 64, 64)
    for one, other in zip(judge(grey), judge(grey.expand(-1, 3, -1, -1)), strict=True):
        torch.testing.assert_close(one, other)


def test_backbone_and_mix_stay(judge):
    before = {name: tensor.clone() for name, tensor in judge.named_parameters()}
    real, fake = torch.rand(4, 3, 64, 64), -torch.rand(4, 3, 64, 64)
    optimizer = torch.optim.Adam(judge.trained_parameters(), lr=0.01)
    losses = []
    for _ in range(8):
        pairs = zip(judge(real), judge(fake), strict=True)
        loss = mean_over_features([discriminator_loss(a, b) for a, b in pairs])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    frozen = [name for name, tensor in judge.named_parameters() if torch.equal(tensor, before[name])]
    assert sorted(frozen) == sorted(name for name in before if name.startswith("backbone") or ".0.weight" in name)


def test_reaches_the_generator(tiny_trainer):
    """Without it, the same step leaves other weights."""
    with_it, without = tiny_trainer(feature_weight=1.0), tiny_trainer()
    with_it.train_step()
    without.train_step()
    pairs = zip(with_it.generator.parameters(), without.generator.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


def test_begins_in_the_middle_of_a_run(tiny_trainer, tmp_path):
    """A state without its heads can be continued with it, and one saved at that moment can be read."""
    trainer = tiny_trainer()
    trainer.train_step()
    save_state(trainer, tmp_path / "first")
    resumed = tiny_trainer(feature_weight=0.2)
    load_state(resumed, tmp_path / "first")
    save_state(resumed, tmp_path / "second")
    again = tiny_trainer(feature_weight=0.2)
    load_state(again, tmp_path / "second")
    again.train_step()
    save_state(again, tmp_path / "third")
    load_state(tiny_trainer(), tmp_path / "third")  # and it can be left out again


def test_damaged_heads_are_refused(tiny_trainer, tmp_path):
    trainer = tiny_trainer(feature_weight=0.2)
    trainer.train_step()
    judge = trainer.feature_discriminator
    judge.heads[0][0].weight = torch.nn.Parameter(torch.zeros(3, 3, 1, 1))
    save_state(trainer, tmp_path / "state")
    with pytest.raises(CheckpointError, match="belongs"):
        load_state(tiny_trainer(feature_weight=0.2), tmp_path / "state")
