"""Pictures and a training state made up in a moment, so that a rehearsal needs no data and no GPU."""

from __future__ import annotations

from pathlib import Path

import torch

from relatent.core.files import write_bytes
from relatent.core.images import encode_png, to_pixels
from stylegan import DiscriminatorConfig, GeneratorConfig
from stylegan.training.loss import GanLossWeights
from stylegan.training.run import open_trainer
from stylegan.training.settings import TrainingSettings
from stylegan.training.state import save_state

RESOLUTION = 16
PICTURES = {"train": 24, "val": 4}


def make(folder: Path) -> tuple[Path, Path]:
    """Smooth random pictures, and a folder with the state of a run on them at batch 4: both below ``folder``."""
    data, states = folder / "pictures", folder / "states"
    random = torch.Generator().manual_seed(0)
    for name, count in PICTURES.items():
        small = torch.rand(count, 3, 4, 4, generator=random) * 2 - 1
        images = torch.nn.functional.interpolate(small, size=RESOLUTION, mode="bilinear")
        (data / name).mkdir(parents=True)
        for index, pixels in enumerate(to_pixels(images)):
            write_bytes(data / name / f"{index:02d}.png", encode_png(pixels))
    sizes = {"resolution": RESOLUTION, "channel_base": 64, "channel_max": 8, "conv_clamp": None}
    settings = TrainingSettings(
        data=str(data),
        data_folder="train",
        name="rehearsal",
        generator=GeneratorConfig(z_dim=8, w_dim=12, mapping_layers=2, **sizes),
        discriminator=DiscriminatorConfig(**sizes),
        loss_weights=GanLossWeights(r1_gamma=0.01, r1_interval=4),
        batch=4,
    )
    trainer = open_trainer(settings, torch.device("cpu"))
    trainer.run_tick(8)
    states.mkdir()
    save_state(trainer, states / "rehearsal.safetensors", half=True)
    return data, states
