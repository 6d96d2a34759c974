"""What the pretend device refuses, and what it lets pass; the paths that run on it have tests of their own."""

from __future__ import annotations

import pytest
import torch
from pretend_device import DEVICE, DeviceMistakeError, PretendTensor


@pytest.fixture
def x(pretend):
    return torch.linspace(-1, 1, 12).reshape(3, 4).to(DEVICE)


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (lambda x: x.sum().item(), "reads a value"),
        (lambda x: float(x.sum()), "reads a value"),
        (lambda x: bool((x > 0).all()), "reads a value"),
        (lambda x: x.tolist(), "copies to the CPU"),
        (lambda x: x.cpu(), "copies to the CPU"),
        (lambda x: x[x > 0], "boolean index"),
        (lambda x: x.nonzero(), "size that depends on values"),
        (lambda x: x.masked_select(x > 0), "size that depends on values"),
        (lambda x: torch.equal(x, x), "reads a value"),
        (lambda x: x + torch.ones([]), "computes on the CPU"),
        (lambda x: torch.zeros(3), "computes on the CPU"),
        (lambda x: torch.tensor([1.0], device=DEVICE), "computes on the CPU"),
    ],
)
def test_refused_in_a_step(pretend, x, work, words):
    if words != "computes on the CPU":
        work(x)  # elsewhere it is fine
    with pretend.step(), pytest.raises(DeviceMistakeError, match=words):
        work(x)


def test_refused_anywhere(x):
    with pytest.raises(DeviceMistakeError, match="float64"):
        x.double()
    with pytest.raises(DeviceMistakeError, match="on the device and on the CPU"):
        x + torch.ones(3, 4)


def test_copies_of_a_training_step(pretend, x):
    with pretend.step(host=True):
        assert isinstance(torch.randn(3).to(DEVICE, non_blocking=True), PretendTensor)
        with pytest.raises(DeviceMistakeError, match="copies between"):
            torch.randn(3).to(DEVICE)
        with pytest.raises(DeviceMistakeError, match="copies to the CPU"):
            x.cpu()


def test_numbers_are_real(pretend, x):
    with pretend.step():
        y = (x.requires_grad_(True) * 2).square().sum()
        (gradient,) = torch.autograd.grad(y, x)
        made = torch.randn(3, device=DEVICE) + x.new_ones(3)
    assert isinstance(made, PretendTensor)
    assert torch.equal(gradient.cpu(), 8 * x.detach().cpu())
    assert pretend.operators > 3
