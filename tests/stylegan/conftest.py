"""Tiny training data, settings and trainers."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Networks this small gain nothing from a second one, and beside a training they lose sixfold by waiting for it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def picture_folder(tmp_path):
    """40 random pictures of 12 x 10 in two folders, and a dataset.json with three classes."""
    folder = tmp_path / "pictures"
    rng = np.random.default_rng(0)
    labels = []
    for index in range(40):
        name = f"{index % 2:02d}/{index:03d}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)).save(folder / name)
        labels.append([name, index % 3])
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    return folder


@pytest.fixture
def tiny_settings():
    """A function that makes the settings of a run at 8 px; keywords change them."""
    from stylegan import DiscriminatorConfig, GeneratorConfig
    from stylegan.training.loss import GanLossWeights
    from stylegan.training.settings import TrainingSettings

    def make(*, c_dim=0, style_method="demodulate", r1_interval=2, feature_weight=0.0, **changes):
        sizes = {"resolution": 8, "c_dim": c_dim, "channel_base": 64, "channel_max": 8, "conv_clamp": None}
        settings = TrainingSettings(
            data="nowhere",
            data_folder=None,
            name="tiny",
            generator=GeneratorConfig(z_dim=8, w_dim=12, mapping_layers=2, style_method=style_method, **sizes),
            discriminator=DiscriminatorConfig(**sizes),
            loss_weights=GanLossWeights(0.01, r1_interval, feature_weight=feature_weight),
            batch=4,
        )
        return dataclasses.replace(settings, **changes)

    return make


@pytest.fixture
def tiny_trainer(tiny_settings):
    """A function that makes a trainer on 20 random pictures of three classes."""
    from stylegan.training.trainer import Trainer

    def make(**changes):
        rng = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (20, 3, 8, 8), generator=rng, dtype=torch.uint8)
        return Trainer(tiny_settings(**changes), images, torch.arange(20) % 3, CPU)

    return make


@pytest.fixture
def network(tiny_generator, tmp_path):
    """The tiny generator's file, to read or to spoil."""
    from stylegan import save_generator

    path = tmp_path / "network.safetensors"
    save_generator(tiny_generator, path)
    return path
