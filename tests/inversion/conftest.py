import dataclasses

import pytest

from core.alignment import Alignment
from inversion import settings
from stylegan import save_generator


@pytest.fixture
def tiny_file(tiny_generator, tmp_path):
    """The tiny network as a file, cropping faces as the embedded one does."""
    tiny_generator.alignment = Alignment(0.62, 0.08)
    path = tmp_path / "networks" / "tiny.safetensors"
    save_generator(tiny_generator, path)
    return path


@pytest.fixture
def few_steps(monkeypatch):
    """Presets of four steps, so that commands can be tested in a second."""

    def quick_one(plan):
        stages = {name: getattr(plan, name) for name in ("optimiser", "tuning")}
        short = {name: stage and dataclasses.replace(stage, num_steps=4) for name, stage in stages.items()}
        return dataclasses.replace(plan, **short)

    quick = {name: quick_one(plan) for name, plan in settings.PRESETS.items()}
    monkeypatch.setattr(settings, "PRESETS", quick)
