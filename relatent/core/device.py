"""Chooses the device."""

from __future__ import annotations

import torch

from relatent.core.errors import UsageError


def pick_device(name: str | None = None) -> torch.device:
    """The device called ``name``, or the best available one if ``name`` is None or "auto".

    Raises:
        UsageError: an unknown device, or one that this machine does not have.
    """
    if name in (None, "auto"):
        return torch.device(_available()[0])
    known = _available()
    try:
        device = torch.device(str(name))
    except RuntimeError:
        raise UsageError(f"unknown device {name!r}; this machine has: {', '.join(known)}.") from None
    if device.type not in known:
        raise UsageError(f"device {name!r} is not available; this machine has: {', '.join(known)}.")
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if not 0 <= (device.index or 0) < count:  # torch reads "cuda:200" as index -56
        raise UsageError(f"device {name!r} is not available; the last one is {device.type}:{count - 1}.")
    return torch.device("cpu") if device.type == "cpu" else device  # tensors on the CPU never have the device "cpu:0"


def synchronize(device: torch.device) -> None:
    """Wait until ``device`` has finished all work, for timing."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _available() -> list[str]:
    names = []
    if torch.cuda.is_available():
        names.append("cuda")
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]
