import dataclasses
import io
import zipfile

import numpy as np
import pytest
import torch
from kept_answers import dlib_is_asked_once  # noqa: F401
from PIL import Image

from inversion import presets as settings
from relatent.core.images import to_pixels


@pytest.fixture
def faces(tiny_generator, tmp_path):
    """A zip file of pictures that the tiny network drew: four in val/, three in train/."""
    path = tmp_path / "faces.zip"
    with torch.no_grad():
        drawn = tiny_generator(torch.randn(7, 16, generator=torch.Generator().manual_seed(0)))
    with zipfile.ZipFile(path, "w") as archive:
        for number, pixels in enumerate(to_pixels(drawn)):
            buffer = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
            archive.writestr(f"{'val' if number < 4 else 'train'}/{number}.png", buffer.getvalue())
    return path


@pytest.fixture
def few_steps():
    """The presets with four steps."""
    return {
        name: dataclasses.replace(plan, optimiser=plan.optimiser and dataclasses.replace(plan.optimiser, num_steps=4))
        for name, plan in settings.PRESETS.items()
    }
