"""A lower bound for the time of a step by its operators on this machine, and the distance from it.

Every operator of a step is counted as PyTorch dispatches it: its floating-point operations, and the bytes of all it
reads and writes. Alone and at its best it would take the longer of operations / peak and bytes / bandwidth; the sum
over operators is the floor of a step that is written with them. Only fusing operators goes below it: both peaks are the
best this machine did in this process, bandwidth in the fastest cache that holds a copy.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from relatent.core.device import synchronize

REPEATS = 5
Clock = Callable[[], float]  # seconds since some moment
COPIED_BYTES = [2**power for power in range(16, 29, 2)]  # 64 kB to 256 MB


@dataclass(frozen=True)
class Peaks:
    """The best of this machine: floating-point operations and bytes a second."""

    flops: float
    bandwidth: float


class Counter(TorchDispatchMode):
    """While it is entered, notes each operator's floating-point operations and bytes.

    Attributes:
        work: (operations, bytes) of each operator that computed something, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.work: list[tuple[int, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        written = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if not _only_views(func, read, written):
            count = flop_registry.get(func._overloadpacket)
            flops = count(*args, **kwargs, out_val=result) if count else 0
            self.work.append((int(flops), sum(_bytes(tensor) for tensor in [*read, *written])))
        return result


def _only_views(func: Any, read: list[Tensor], written: list[Tensor]) -> bool:
    """Whether an operator returned a view of its input and computed nothing."""
    if func._schema.is_mutable or not written:
        return not written
    storages = {tensor.untyped_storage().data_ptr() for tensor in read}
    return all(tensor.untyped_storage().data_ptr() in storages for tensor in written)


def _bytes(tensor: Tensor) -> int:
    """What lies in memory: an expanded tensor is read once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def counted(form: Callable[[int], object]) -> list[tuple[int, int]]:
    """The work of one step: the difference between two steps and one."""
    form(1)  # what is computed once and kept
    work = []
    for steps in (1, 2):
        with Counter() as counter:
            form(steps)
        work.append(counter.work)
    one, two = (collections.Counter(items) for items in work)
    return list((two - one).elements())  # what is prepared for all steps at once may differ, and is small


def floor_of(form: Callable[[int], object], milliseconds: float, photos: int, peaks: Peaks) -> dict[str, float]:
    """What a step of a form costs at least, against what it was measured to take.

    Args:
        form: does so many steps.
        milliseconds: of one step, for one photo of the step's.
        photos: of a step.
        peaks: of the machine.
    """
    work = counted(form)
    floor = sum(max(flops / peaks.flops, size / peaks.bandwidth) for flops, size in work)
    arithmetic = sum(flops for flops, _ in work)
    return {
        "operators": len(work),
        "gflop": round(arithmetic / photos / 1e9, 3),
        "megabytes": round(sum(size for _, size in work) / photos / 1e6, 1),
        "floor_milliseconds": round(floor * 1000 / photos, 2),
        "arithmetic_milliseconds": round(arithmetic / peaks.flops * 1000 / photos, 2),
        "milliseconds": milliseconds,
        "share": round(floor * 1000 / photos / milliseconds, 3),
    }


def measured_peaks(device: torch.device, clock: Clock = time.perf_counter, dtype: torch.dtype = torch.float32) -> Peaks:
    """The best of some matrix products and convolutions in ``dtype``, and of copies of all sizes.

    On a GPU, larger products, and only copies that no cache holds: between two uses of a tensor, a step reads far more
    than its cache.
    """
    rates = []
    large = device.type != "cpu"
    for size in (4096, 8192) if large else (512, 1024, 2048):
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        rates.append(2 * size**3 / _fastest(lambda a=a, b=b: a @ b, device, clock))  # type: ignore[misc]
    for batch in (1, 16):
        x = torch.randn(batch, 128, 64, 64, device=device, dtype=dtype).to(memory_format=torch.channels_last)
        weight = torch.randn(128, 128, 3, 3, device=device, dtype=dtype)
        work = 2 * batch * 128 * 128 * 9 * 64 * 64
        rates.append(work / _fastest(lambda x=x, w=weight: F.conv2d(x, w, padding=1), device, clock))  # type: ignore[misc]
    copies = []
    for size in [2**30] if large else COPIED_BYTES:
        source = torch.ones(size // 4, device=device)
        target = torch.empty_like(source)
        copies.append(2 * size / _fastest(lambda t=target, s=source: t.copy_(s), device, clock, max(1, 2**24 // size)))  # type: ignore[misc]
    return Peaks(max(rates), max(copies))


def _fastest(work: Callable[[], object], device: torch.device, clock: Clock, often: int = 1) -> float:
    """Seconds of one call, the best of some rounds of ``often`` calls."""
    seconds = []
    for _ in range(REPEATS + 1):
        synchronize(device)
        started = clock()
        for _ in range(often):
            work()
        synchronize(device)
        seconds.append((clock() - started) / often)
    return min(seconds[1:])
