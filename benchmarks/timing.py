"""Times implementations of a step alternately: in this process, or in one of their own."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Protocol

import torch

from benchmarks.steps import Form, network_of, photos_of, published
from relatent.core.device import synchronize

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}


class Timed(Protocol):
    """Something whose steps can be timed."""

    def seconds(self, steps: int) -> float:
        """What so many steps take."""
        ...


@dataclass(frozen=True)
class Here:
    """A form in this process, on a device, by a clock: seconds since some moment."""

    form: Form
    device: torch.device
    clock: Callable[[], float] = time.perf_counter

    def seconds(self, steps: int) -> float:
        synchronize(self.device)
        started = self.clock()
        self.form(steps)
        synchronize(self.device)
        return self.clock() - started


class PublishedElsewhere:
    """The published form for one photo, in a process that nobody has prepared; to be entered by ``with``.

    What :func:`relatent.core.cpu.prepare` asks of a process's memory holds for all of it; published projectors
    do not ask.

    Args:
        size: pixels along a side.
        device: where.
        clock: name of one of ``CLOCKS``.
    """

    def __init__(self, size: int, device: torch.device, clock: str) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, size, str(device), clock), daemon=True)
        self.process.start()
        theirs.close()

    def seconds(self, steps: int) -> float:
        self.pipe.send(steps)
        answer: float = self.pipe.recv()
        return answer

    def __enter__(self) -> PublishedElsewhere:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pipe.close()  # which ends the process
        self.process.join()


def _serve(pipe: Connection, size: int, device: str, clock: str) -> None:
    """Answer numbers of steps with seconds until the other end is closed."""
    where = torch.device(device)
    here = Here(published(network_of(size, where), photos_of(size, 1, where)), where, CLOCKS[clock])
    with suppress(EOFError):
        while True:
            pipe.send(here.seconds(pipe.recv()))


def timed(forms: Mapping[str, tuple[int, Timed]], steps: int, rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of one step for one photo, by name; forms alternate, and the first round is not counted.

    Args:
        forms: photos of a step, and what does it.
        steps: in a row.
        rounds: that are counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for number in range(rounds + 1):
        for name, (count, form) in forms.items():
            taken = form.seconds(steps) / steps / count * 1000
            if number:
                seconds[name].append(taken)
    return {name: _spread(values) for name, values in seconds.items()}


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "milliseconds": round(statistics.median(values), 2),
        "fastest": round(min(values), 2),
        "slowest": round(max(values), 2),
    }
