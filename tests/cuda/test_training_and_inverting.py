"""Training steps and inversions on a GPU: they learn, go on elsewhere, and fit into its memory."""

from __future__ import annotations

import math

import pytest
import torch

from inversion import invert_images
from inversion.losses.perceptual import load_perceptual
from stylegan import DiscriminatorConfig, GeneratorConfig
from stylegan.training.loss import GanLossWeights
from stylegan.training.settings import TrainingSettings
from stylegan.training.state import load_state, save_state
from stylegan.training.trainer import Trainer

pytestmark = pytest.mark.cuda
CPU = torch.device("cpu")


def trainer_on(device, **changes):
    sizes = {"resolution": 16, "channel_base": 128, "channel_max": 16, "conv_clamp": None}
    settings = {
        "data": "nowhere",
        "data_folder": None,
        "name": "tiny",
        "generator": GeneratorConfig(z_dim=8, w_dim=12, mapping_layers=2, **sizes),
        "discriminator": DiscriminatorConfig(**sizes),
        "loss_weights": GanLossWeights(r1_gamma=0.01, r1_interval=2),
        "batch": 8,
        **changes,
    }
    images = torch.randint(0, 256, (40, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Trainer(TrainingSettings(**settings), images, None, device)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_steps(device, precision):
    trainer = trainer_on(device, precision=precision)
    before = [p.detach().clone() for p in trainer.average.parameters()]
    tick = trainer.run_tick(32)
    assert math.isfinite(tick.loss_g + tick.loss_d)
    assert tick.r1 > 0
    assert all(p.device.type == device.type and p.isfinite().all() for p in trainer.average.parameters())
    assert not any(torch.equal(a, b) for a, b in zip(before, trainer.average.parameters(), strict=True) if a.ndim > 1)


def test_same_networks_and_pictures_at_the_start(device):
    ours, theirs = trainer_on(device, flip=False), trainer_on(CPU, flip=False)
    for name, tensor in theirs.generator.state_dict().items():
        assert torch.equal(ours.generator.state_dict()[name].cpu(), tensor), name
    assert torch.equal(ours._real_batch()[0].cpu(), theirs._real_batch()[0])


def test_compiled_training_steps(gpu):
    ticks = [trainer_on(gpu, compile=compile).run_tick(32) for compile in (False, True)]
    assert ticks[1].loss_g == pytest.approx(ticks[0].loss_g, rel=0.02)
    assert ticks[1].loss_d == pytest.approx(ticks[0].loss_d, rel=0.02)


def test_a_state_goes_on_elsewhere(device, tmp_path):
    there = trainer_on(device)
    there.run_tick(24)
    save_state(there, tmp_path / "state")
    here = trainer_on(CPU)
    load_state(here, tmp_path / "state")
    for name, tensor in here.generator.state_dict().items():
        assert torch.equal(there.generator.state_dict()[name].cpu(), tensor), name
    assert math.isfinite(here.run_tick(8).loss_g)
    save_state(here, tmp_path / "state")
    load_state(there, tmp_path / "state")
    assert math.isfinite(there.run_tick(8).loss_g)
    assert (here.images_seen, there.images_seen) == (32, 40)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_inversion_comes_close(tiny_generator, device, precision):
    generator, distance = tiny_generator.to(device), load_perceptual("embedded", device)
    with torch.no_grad():
        images = generator.synthesis(generator.mapping.truncate(generator.sample_w(2, 1), 0.7)).clamp(-1, 1)
        start = generator.synthesis(generator.w_avg.expand(2, generator.num_ws, -1))
    found = invert_images(images, generator, preset="balanced", num_steps=60, precision=precision)
    for inversion, image, first in zip(found, images, start, strict=True):
        noise = inversion.noise and [level.to(device) for level in inversion.noise]
        with torch.no_grad():
            drawn = generator.synthesis(inversion.ws.to(device), noise=noise)[0]
        assert distance(drawn[None], image[None]) < 0.9 * distance(first[None], image[None])
