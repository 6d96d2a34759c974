"""Choosing a device: what this machine has, and clear words about what it has not."""

from __future__ import annotations

import pytest
import torch

from relatent.core.device import (
    Pace,
    device_errors,
    explained,
    forget_peak_memory,
    free_memory,
    lay_out,
    peak_memory,
    pick_device,
    return_memory,
    scalar_dtype,
    synchronize,
)
from relatent.core.errors import DeviceError, UsageError


@pytest.fixture
def machine(monkeypatch):
    """Pretend to have some accelerators."""

    def pretend(cuda: int = 0, mps: bool = False, xpu: int = 0) -> None:
        monkeypatch.setattr(torch.xpu, "is_available", lambda: xpu > 0)
        monkeypatch.setattr(torch.xpu, "device_count", lambda: xpu)
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
    machine(xpu=1)
    assert pick_device(name) == torch.device("xpu")
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


def test_a_second_xpu(machine):
    machine(xpu=2)
    assert pick_device("xpu:1") == torch.device("xpu:1")
    with pytest.raises(UsageError, match="the last one is xpu:1"):
        pick_device("xpu:2")


# What PyTorch says, word for word.
MPS = (
    "The operator 'aten::_ctc_loss' is not currently implemented for the MPS device. If you want this op to be "
    "considered for addition please comment on https://github.com/pytorch/pytorch/issues/141287"
)
XPU = "Could not run 'aten::_histogramdd' with arguments from the 'XPU' backend. This could be because"
DOUBLE = "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
LAUNCH = "CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might be"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NotImplementedError(MPS), "lacks aten::_ctc_loss on this device. Set PYTORCH_ENABLE_MPS_FALLBACK=1"),
        (NotImplementedError(XPU), "lacks aten::_histogramdd on this device. Use --device cpu."),
        (TypeError(DOUBLE), "this device has no float64, and this step needs it. Use --device cpu."),
        (torch.OutOfMemoryError("CUDA out of memory."), "too little free memory"),
        (
            RuntimeError(LAUNCH),
            "the device failed: CUDA error: no kernel image is available for execution on the device. C",
        ),
    ],
)
def test_what_a_device_cannot_do_is_said_in_words(error, words):
    with pytest.raises(DeviceError) as caught, device_errors():
        raise error
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [RuntimeError("shape '[2]' is invalid"), TypeError("no"), KeyError("x")])
def test_bugs_stay_bugs(error):
    assert explained(error) is None
    with pytest.raises(type(error)), device_errors():
        raise error


def test_a_command_says_it_in_one_line():
    import click
    from click.testing import CliRunner

    from relatent.core.command import RelatentCommand

    @click.command(cls=RelatentCommand)
    def command():
        raise NotImplementedError(MPS)

    result = CliRunner().invoke(command, [])
    assert result.exit_code == 1
    assert result.output.startswith("error: PyTorch ")
    assert "Traceback" not in result.output


def test_what_a_cpu_has_no_figures_of():
    device = torch.device("cpu")
    assert free_memory(device) is peak_memory(device) is None
    forget_peak_memory(device)
    return_memory(device)
    Pace(device).step_launched()
    assert scalar_dtype(device) == torch.float64
    assert scalar_dtype(torch.device("mps")) == torch.float32


def test_layout_of_frozen_weights():
    convolution = torch.nn.Conv2d(4, 4, 3)
    lay_out(convolution, torch.device("mps"))
    assert convolution.weight.is_contiguous()
    lay_out(convolution, torch.device("cuda"))
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
