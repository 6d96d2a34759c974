"""Choosing a device: what this machine has, and clear words about what it has not."""

from __future__ import annotations

import pytest
import torch

from relatent.core.device import pick_device, synchronize
from relatent.core.errors import UsageError


@pytest.fixture
def machine(monkeypatch):
    """Pretend to have some accelerators."""

    def pretend(cuda: int = 0, mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize("name", ["cpu", "cpu:0"])
def test_the_cpu_is_always_there(name):
    device = pick_device(name)
    assert device == torch.device("cpu")
    assert torch.zeros(1, device=device).device == device


@pytest.mark.parametrize("name", [None, "auto"])
def test_the_best_there_is(name, machine):
    machine()
    assert pick_device(name) == torch.device("cpu")
    machine(mps=True)
    assert pick_device(name) == torch.device("mps")
    machine(cuda=1, mps=True)
    assert pick_device(name) == torch.device("cuda")


@pytest.mark.parametrize("name", ["gpu", "CPU", "", "0", "cuda:x", "cuda:-1", "two\nlines"])
def test_unknown_names(name, machine):
    machine()
    with pytest.raises(UsageError) as caught:
        pick_device(name)
    assert str(caught.value) == f"unknown device {name!r}; this machine has: cpu."


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", "meta", "xpu"])
def test_kinds_that_are_not_here(name, machine):
    machine()
    with pytest.raises(UsageError) as caught:
        pick_device(name)
    assert str(caught.value) == f"device {name!r} is not available; this machine has: cpu."


def test_meta_is_refused_even_beside_real_devices(machine):
    machine(cuda=2, mps=True)
    with pytest.raises(UsageError, match="'meta' is not available; this machine has: cuda, mps, cpu"):
        pick_device("meta")


def test_numbers_of_graphics_cards(machine):
    machine(cuda=2)
    assert pick_device("cuda:1") == torch.device("cuda:1")
    for name in ("cuda:2", "cuda:200"):  # torch keeps the number in 8 bits: the second becomes -56
        with pytest.raises(UsageError, match=rf"'{name}' is not available; the last one is cuda:1\."):
            pick_device(name)


def test_there_is_one_cpu_and_one_mps(machine):
    machine(mps=True)
    for kind in ("cpu", "mps"):
        with pytest.raises(UsageError, match=rf"'{kind}:1' is not available; the last one is {kind}:0\."):
            pick_device(f"{kind}:1")


def test_waiting_for_the_cpu_is_nothing():
    synchronize(torch.device("cpu"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_real_graphics_card():
    device = pick_device()
    assert device.type == "cuda"
    synchronize(device)
