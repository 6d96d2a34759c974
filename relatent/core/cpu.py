"""Settings for long computations on a CPU: freed memory, number of threads."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

# Parameters of glibc's mallopt; see its manual page. Thresholds that are set in the environment are not changed.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
MEMORY_FROM_OUTSIDE = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
NEVER = -1  # value of TRIM_THRESHOLD
KEPT = 2**30  # bytes of free memory that the process keeps after the work
OLDER = 2**25  # the largest threshold for mmap that older versions accept

THREADS_FROM_OUTSIDE = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
CGROUPS = Path("/sys/fs/cgroup")


def prepare(device: torch.device) -> None:
    """Prepare for long work on ``device``. Affects only the CPU, and only the first call has an effect."""
    if device.type == "cpu":
        keep_freed_memory()
        respect_quota()


@contextlib.contextmanager
def prepared(device: torch.device) -> Iterator[None]:
    """Prepare for work on ``device``, and return most of the freed memory to the system afterwards."""
    prepare(device)
    try:
        yield
    finally:
        if device.type == "cpu" and keep_freed_memory():
            _c_library().malloc_trim(ctypes.c_size_t(KEPT))


@functools.cache
def keep_freed_memory() -> bool:
    """Make the C library keep large freed blocks instead of returning them to the system, for the rest of the process.

    By default, glibc maps each block of more than some megabytes and unmaps it when it is freed. In an optimisation,
    this happens for every activation, and the system clears each new page, which costs more time than many layers take.
    :func:`prepared` returns all but 1 GiB of free memory after the work.

    Returns:
        Whether it was set: not without glibc, nor if the environment sets the thresholds.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in MEMORY_FROM_OUTSIDE):
        return False
    library = _c_library()
    if not (library.mallopt(MMAP_THRESHOLD, KEPT) or library.mallopt(MMAP_THRESHOLD, OLDER)):
        return False
    return bool(library.mallopt(TRIM_THRESHOLD, NEVER))


@functools.cache  # each one leaves a class of its own to the garbage collector
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None)


@functools.cache
def respect_quota() -> int:
    """Limit the number of threads to a container's CPU quota; more threads would only wait for each other.

    PyTorch counts the processors that the process may run on. Under a quota (``docker run --cpus 2``) these are all
    processors, but only for a share of the time.

    Returns:
        The number of threads.
    """
    share = quota(CGROUPS)
    if share is not None and not any(name in os.environ for name in THREADS_FROM_OUTSIDE):
        torch.set_num_threads(max(1, min(torch.get_num_threads(), math.floor(share + 0.5))))
    return torch.get_num_threads()


def _after_fork() -> None:
    """Let a forked process compute with one thread.

    OpenMP's threads do not survive a fork, and GNU's runtime waits for them forever at the next parallel region
    (https://gcc.gnu.org/bugzilla/show_bug.cgi?id=60035). With one thread there is none. PyTorch's own DataLoader does
    the same in its workers, which share the processors anyway.
    """
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # not on Windows, where processes are spawned
    os.register_at_fork(after_in_child=_after_fork)


def peak_memory() -> int:
    """Most bytes that this process has held; 0 under Windows, where it is not known."""
    try:
        import resource  # Unix only
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def processors() -> int:
    """Processors that this process may use, as far as the system and a container's quota let it."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = quota(CGROUPS)
    return own if share is None else max(1, min(own, math.floor(share + 0.5)))


def quota(cgroups: Path) -> float | None:
    """Processors that this process may use on average, from Linux control groups (v1 or v2); None for no limit."""
    try:
        if (cgroups / "cpu.max").exists():
            limit, period = (cgroups / "cpu.max").read_text().split()
        else:
            limit, period = ((cgroups / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(limit) / int(period) if limit != "max" and int(limit) > 0 and int(period) > 0 else None
    except (OSError, ValueError):
        return None
