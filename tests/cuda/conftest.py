"""Where the tests of this folder compute: on the GPU, or on what ``--device`` names."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def device(request):
    named = request.config.getoption("--device")
    if named is None and not torch.cuda.is_available():
        pytest.skip("there is no GPU; --device cpu rehearses")
    return torch.device(named or "cuda")


@pytest.fixture
def gpu(device):
    """The device, for what makes no sense or takes too long on a CPU."""
    if device.type != "cuda":
        pytest.skip("only on a GPU")
    return device
