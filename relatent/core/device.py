"""Devices: which one computes, how to wait for it, what memory it has, and what it cannot do.

CUDA, Apple's mps and Intel's xpu go through the same functions. What only one of them has stands in this module.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from relatent.core.errors import DeviceError, UsageError

AHEAD = 2  # steps that the host may be ahead of the device
UNSUPPORTED = re.compile(
    r"operator '(?P<mps>[^']+)' is not currently implemented for the (?P<device>\w+) device"
    r"|Could not run '(?P<other>[^']+)' with arguments from the '\w+' backend"
)
NO_DOUBLE = "doesn't support float64"  # mps: "Cannot convert a MPS Tensor to float64 dtype as the MPS framework ..."


def pick_device(name: str | None = None) -> torch.device:
    """The device called ``name``, or the best available one if ``name`` is None or "auto".

    Raises:
        UsageError: an unknown device, or one that this machine does not have.
    """
    if name in (None, "auto"):
        return torch.device(available()[0])
    known = available()
    try:
        device = torch.device(str(name))
    except RuntimeError:
        raise UsageError(f"unknown device {name!r}; this machine has: {', '.join(known)}.") from None
    if device.type not in known:
        raise UsageError(f"device {name!r} is not available; this machine has: {', '.join(known)}.")
    count = _backend(device).device_count() if device.type in ("cuda", "xpu") else 1
    if not 0 <= (device.index or 0) < count:  # torch reads "cuda:200" as index -56
        raise UsageError(f"device {name!r} is not available; the last one is {device.type}:{count - 1}.")
    return torch.device("cpu") if device.type == "cpu" else device  # tensors on the CPU never have the device "cpu:0"


def available() -> list[str]:
    """Kinds of devices that this machine has, the preferred one first."""
    names = []
    if torch.cuda.is_available():
        names.append("cuda")
    if torch.xpu.is_available():
        names.append("xpu")
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def synchronize(device: torch.device) -> None:
    """Wait until ``device`` has finished all work, for timing."""
    if device.type in ("cuda", "xpu"):
        _backend(device).synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def lay_out(module: nn.Module, device: torch.device) -> None:
    """Convert the weights of a frozen module to channels_last where the convolutions compute in that layout.

    Features are channels_last on every device. On a CPU and under CUDA, weights of another layout would be converted at
    every step.
    """
    if device.type in ("cpu", "cuda"):
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def scalar_dtype(device: torch.device) -> torch.dtype:
    """The dtype of sums and schedules on ``device``: double on the CPU; mps has none, and other GPUs are slow at it."""
    return torch.float64 if device.type == "cpu" else torch.float32


def free_memory(device: torch.device) -> int | None:
    """Bytes that new tensors on ``device`` can take; None if unknown."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return None


def peak_memory(device: torch.device) -> int | None:
    """Most bytes of tensors on ``device`` since :func:`forget_peak_memory`; None if unknown."""
    return int(_backend(device).max_memory_allocated(device)) if device.type in ("cuda", "xpu") else None


def forget_peak_memory(device: torch.device) -> None:
    """Count :func:`peak_memory` from here."""
    if device.type in ("cuda", "xpu"):
        _backend(device).reset_peak_memory_stats(device)


def return_memory(device: torch.device) -> None:
    """Give memory that PyTorch keeps for later back to ``device``."""
    if device.type in ("cuda", "xpu"):
        _backend(device).empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


class Pace:
    """Keeps the host at most ``AHEAD`` steps ahead of a CUDA device, so that a cancelled run ends within those steps.

    Waiting for an earlier step leaves the device busy, unlike reading a result of the last one.

    Args:
        device: where the steps compute.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.events: deque[torch.cuda.Event] = deque()

    def step_launched(self) -> None:
        """Called after each step; waits for the one ``AHEAD`` steps before."""
        if self.device.type != "cuda":
            return
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self.device))
        self.events.append(event)
        if len(self.events) > AHEAD:
            self.events.popleft().synchronize()


@contextmanager
def device_errors() -> Iterator[None]:
    """Context manager that raises what a device cannot do as an error that says what to do.

    Raises:
        DeviceError: out of memory, an operator that the device lacks, or a failure of its driver.
    """
    try:
        yield
    except (RuntimeError, TypeError) as error:  # NotImplementedError and OutOfMemoryError are RuntimeErrors
        message = explained(error)
        if message is None:
            raise
        raise DeviceError(message) from error


def explained(error: Exception) -> str | None:
    """What the user can do about an error of PyTorch's on a device; None for any other error."""
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError):
        return (
            "the device has too little free memory. End other programs on it, or use a smaller --batch-size, "
            "--precision bfloat16 or --device cpu."
        )
    if found := UNSUPPORTED.search(text):
        operator, on_mps = found["mps"] or found["other"], found["device"] == "MPS"
        fallback = "Set PYTORCH_ENABLE_MPS_FALLBACK=1 to compute it on the CPU, or use" if on_mps else "Use"
        return f"PyTorch {torch.__version__} lacks {operator} on this device. {fallback} --device cpu."
    if NO_DOUBLE in text:
        return "this device has no float64, and this step needs it. Use --device cpu."
    if type(error).__name__ == "AcceleratorError" or text.startswith(("CUDA error", "CUDA driver error")):
        first = text.splitlines()[0].rstrip(".")
        return f"the device failed: {first}. Check it with nvidia-smi, or use --device cpu."
    return None


def _backend(device: torch.device) -> Any:
    return getattr(torch, device.type)
