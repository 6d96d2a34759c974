"""Where the tests of this folder compute: on the GPU, or on what ``--device`` names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


@pytest.fixture
def device(request):
    named = request.config.getoption("--device")
    if named is None and not torch.cuda.is_available():
        pytest.skip("there is no GPU; --device cpu rehearses")
    found = torch.device(named or "cuda")
    # As tensors name it: "cuda" is "cuda:0".
    return torch.zeros([], device=found).device


@pytest.fixture
def gpu(device):
    """The device, for what makes no sense or takes too long on a CPU."""
    if device.type != "cuda":
        pytest.skip("only on a GPU")
    return device


@pytest.fixture(autouse=True)
def no_captured_steps():
    """No test goes on with what another one captured."""
    from inversion.optim.projector import forget_captured_steps

    forget_captured_steps()
    yield
    forget_captured_steps()


@pytest.fixture(scope="session")
def astronaut():
    """The astronaut's face (NASA, public domain), cropped for the embedded network: float32 [1, 3, 64, 64]."""
    from relatent.core.images import from_uint8, read_photo

    pixels = torch.from_numpy(read_photo(Path(__file__).parent / "astronaut.png").pixels.copy())
    image = from_uint8(pixels.permute(2, 0, 1)[None])
    return torch.nn.functional.interpolate(image, size=(64, 64), mode="area")
