"""Training on a device that refuses what a GPU would: steps never wait for it, and nothing on it is float64.

Random numbers may be drawn on the CPU and copied without waiting. The device is that of tests/pretend_device.py.
"""

from __future__ import annotations

import math

import pytest
import torch
from pretend_device import DEVICE

from inversion.backbone import trainer as backbone_training
from inversion.backbone.trainer import BackboneSettings, BackboneTrainer
from inversion.encoders.training import EncoderSettings, EncoderTrainer
from stylegan import DiscriminatorConfig, GeneratorConfig
from stylegan.measuring.config import MetricsConfig
from stylegan.measuring.features import BackboneFeatures
from stylegan.measuring.measure import as_uint8, measure
from stylegan.networks.backbone import backbone_path
from stylegan.training.loss import GanLossWeights
from stylegan.training.settings import TrainingSettings
from stylegan.training.trainer import ADA_INTERVAL, Trainer
from stylegan.training.validation import Validation, draw_samples


@pytest.fixture
def photos():
    return torch.randint(0, 256, (12, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def gan_trainer(photos, device, **changes):
    sizes = {"resolution": 32, "channel_base": 128, "channel_max": 8, "conv_clamp": None}
    weights = GanLossWeights(r1_gamma=0.1, r1_interval=2, path_length_weight=2.0, path_length_interval=2)
    settings = {
        "data": "nowhere",
        "data_folder": None,
        "name": "tiny",
        "generator": GeneratorConfig(z_dim=8, w_dim=12, mapping_layers=2, **sizes),
        "discriminator": DiscriminatorConfig(**sizes),
        "loss_weights": weights,
        "batch": 4,
        "augment_strength": 0.5,
        **changes,
    }
    return Trainer(TrainingSettings(**settings), photos, None, device)


def strictly(pretend, trainer, warm_up, steps):
    """Some steps as they come, which copy to the device what is kept, and some that may not wait."""
    for _ in range(warm_up):
        trainer.train_step()
    for _ in range(steps):
        with pretend.step(host=True):
            trainer.train_step()
    assert pretend.operators > 200


def test_generator_and_discriminator(pretend, photos):
    trainer, here = gan_trainer(photos, DEVICE), gan_trainer(photos, torch.device("cpu"))
    strictly(pretend, trainer, warm_up=2, steps=2)
    for _ in range(4):
        here.train_step()
    for ours, theirs in zip(trainer.average.parameters(), here.average.parameters(), strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=0, atol=0.01)


def test_a_tick(pretend, photos):
    tick = gan_trainer(photos, DEVICE).run_tick(8)
    assert math.isfinite(tick.loss_g + tick.loss_d + tick.pairwise_real)


@pytest.mark.slow
def test_adaptive_augmentation_waits_for_the_device_once_in_a_while(pretend, photos):
    trainer = gan_trainer(photos, DEVICE, ada=True)
    trainer.strength.p = 0.5
    strictly(pretend, trainer, warm_up=ADA_INTERVAL, steps=ADA_INTERVAL - 1)
    trainer.train_step()  # reads the signs
    assert trainer.strength.p != 0.5


def test_encoder(pretend, tiny_generator, photos):
    settings = EncoderSettings(network="tiny", data="nowhere", batch=4, iterations=2, hidden=16)
    trainer = EncoderTrainer(settings, tiny_generator, photos, 1.0, DEVICE)
    strictly(pretend, trainer, warm_up=2, steps=2)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this PyTorch has no Muon")
def test_backbone(pretend, photos, monkeypatch):
    monkeypatch.setattr(backbone_training, "SIZES", (64,))
    settings = BackboneSettings(data="nowhere", data_folder=None, teacher=str(backbone_path()), batch=2)
    large = photos.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    trainer = BackboneTrainer(settings, large, 1.0, DEVICE)
    strictly(pretend, trainer, warm_up=1, steps=3)


def test_validation(pretend, tiny_generator, photos):
    found = Validation(photos, DEVICE, samples=8).distance(tiny_generator.to(DEVICE))
    expected = Validation(photos, torch.device("cpu"), samples=8).distance(tiny_generator.to("cpu"))
    assert found == pytest.approx(expected, rel=1e-3)


def test_metrics(pretend, tiny_generator):
    """All measures, path lengths and separability included; what the features say is compared on the CPU."""
    config = MetricsConfig(samples=20, paths=2, separability_samples=20, features="backbone")
    real = as_uint8(draw_samples(tiny_generator, 40, seed=9))
    labels = torch.arange(40) % 2
    found, expected = (
        measure(tiny_generator.to(device), real, labels, [BackboneFeatures(device)], config)
        for device in (DEVICE, torch.device("cpu"))
    )
    assert found.latent == pytest.approx(expected.latent, rel=0.02)
    ours, theirs = (one.measures["backbone"]["frechet"].generated for one in (found, expected))
    assert ours == pytest.approx(theirs, rel=0.02)
