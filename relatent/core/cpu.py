"""What is seen to before a CPU computes for long: how weights lie, how much memory it keeps, how many threads."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

# Of glibc's mallopt, see its manual page. The thresholds may also be set from outside, and then that is what holds.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
MEMORY_FROM_OUTSIDE = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
NEVER = -1  # as the first threshold
KEPT = 2**30  # bytes of free memory at the heap's end, when work is over
OLDER = 2**25  # the largest threshold for mmap that older versions take

THREADS_FROM_OUTSIDE = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
CGROUPS = Path("/sys/fs/cgroup")


def prepare(device: torch.device) -> None:
    """Before long work on ``device``; does nothing for other devices than the CPU, and nothing twice."""
    if device.type == "cpu":
        keep_freed_memory()
        respect_quota()


@contextlib.contextmanager
def prepared(device: torch.device) -> Iterator[None]:
    """Prepare for work on ``device``, and hand most of the memory back after it."""
    prepare(device)
    try:
        yield
    finally:
        if device.type == "cpu" and keep_freed_memory():
            ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(KEPT))


def lay_out(module: nn.Module, device: torch.device) -> None:
    """Lay a frozen module's weights as oneDNN wants them; else it would turn every one around at every step."""
    if device.type == "cpu":
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@functools.cache
def keep_freed_memory() -> bool:
    """Ask the C library not to hand large blocks back to the system, for this process from now on.

    glibc takes each block of more than some megabytes from the system and gives it back when it is freed. A step of
    optimisation does so with every activation, and the system clears each page anew, which costs more than many a layer
    does. :func:`prepared` hands back all but 1 GiB of it when the work is over.

    Returns:
        Whether it was asked: not on systems without glibc, nor where the environment says otherwise.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in MEMORY_FROM_OUTSIDE):
        return False
    library = ctypes.CDLL(None)
    if not (library.mallopt(MMAP_THRESHOLD, KEPT) or library.mallopt(MMAP_THRESHOLD, OLDER)):
        return False
    return bool(library.mallopt(TRIM_THRESHOLD, NEVER))


@functools.cache
def respect_quota() -> int:
    """Use no more threads than a container's share of processors; more would only wait for one another.

    PyTorch counts the processors a process may run on, but a container's quota (``docker run --cpus 2``) lets it run on
    all of them, for a share of the time.

    Returns:
        The number of threads from now on.
    """
    share = quota(CGROUPS)
    if share is not None and not any(name in os.environ for name in THREADS_FROM_OUTSIDE):
        torch.set_num_threads(max(1, min(torch.get_num_threads(), math.floor(share + 0.5))))
    return torch.get_num_threads()


def quota(cgroups: Path) -> float | None:
    """Processors this process may use on average, as Linux's control groups of either version say; None for all."""
    try:
        if (cgroups / "cpu.max").exists():
            limit, period = (cgroups / "cpu.max").read_text().split()
        else:
            limit, period = ((cgroups / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(limit) / int(period) if limit != "max" and int(limit) > 0 and int(period) > 0 else None
    except (OSError, ValueError):
        return None
