"""The loop of every training, of generators, encoders and backbones: ticks go to a log, snapshots are written.

A run that was killed goes on from its last snapshot: what the log says beyond it is dropped, as it happens again.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from relatent.core.errors import RelatentError
from relatent.core.files import output_errors, write_bytes
from stylegan.bounds import require_number, require_whole

T = TypeVar("T")
R = TypeVar("R")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Schedule:
    """How long a run goes on and when it writes.

    Attributes:
        kimg: stop after this many thousand pictures, counted from the very start.
        tick_kimg: write a line of the log this often.
        snapshot_ticks: write the results and the state every this many ticks, and at the end.
    """

    kimg: float
    tick_kimg: float = 4.0
    snapshot_ticks: int = 8

    def __post_init__(self) -> None:
        require_number("kimg", self.kimg, 0)
        require_number("tick_kimg", self.tick_kimg, 1e-3)
        require_whole("snapshot_ticks", self.snapshot_ticks, 1, 10**9)


class Run(Protocol[T_co]):
    """What steps through the data: a trainer of any kind."""

    @property
    def images_seen(self) -> int: ...

    def run_tick(self, images: int, until: float = math.inf) -> T_co:
        """Train on about ``images`` pictures, or until ``time.monotonic()`` is ``until``: one step at least."""
        ...


def run_to_end(
    trainer: Run[T],
    log: Path | None,
    schedule: Schedule,
    write_snapshot: Callable[[], R],
    *,
    until: float = math.inf,
    agreed: Callable[[bool], bool] = bool,
    before_snapshot: Callable[[T], T] | None = None,
    on_tick: Callable[[T], None] | None = None,
) -> R:
    """Train until the schedule's end; returns what the last ``write_snapshot`` did.

    A run that is at its end already writes its results again.

    Args:
        trainer: steps and reports a tick, a dataclass with ``kimg``.
        log: the file of ticks, one JSON object a line; its folder is made if needed. None for no log.
        schedule: how long the run and a tick are, and how often a snapshot is written; the last is at the end.
        write_snapshot: writes the results so far, and the state to go on from.
        until: a moment of ``time.monotonic()`` after which no step is taken but the first.
        agreed: makes the answer of one of several processes, whether time is up, that of all.
        before_snapshot: completes a tick that a snapshot follows.
        on_tick: called with each tick.

    Raises:
        OutputError: the log cannot be written.
        RelatentError: training diverged.
    """
    end = schedule.kimg * 1000
    if log:
        _start_log(log, trainer.images_seen / 1000)
    done = trainer.images_seen >= end
    ticks = 0
    while not done:
        tick = trainer.run_tick(round(min(schedule.tick_kimg * 1000, end - trainer.images_seen)), until)
        ticks += 1
        done = trainer.images_seen >= end or agreed(time.monotonic() >= until)
        snapshot = done or ticks % schedule.snapshot_ticks == 0
        if snapshot and before_snapshot:
            tick = before_snapshot(tick)
        _write_log(log, tick)
        if on_tick:
            on_tick(tick)
        if snapshot and not done:
            write_snapshot()
    return write_snapshot()


def state_path(out: Path) -> Path:
    """Where the state of the training that makes the file ``out`` lies."""
    return out.with_suffix(".state.safetensors")


def log_path(out: Path) -> Path:
    """Where the log of the training that makes the file ``out`` lies."""
    return out.with_suffix(".log.jsonl")


def _start_log(log: Path, kimg: float) -> None:
    """Keep the lines up to where the run starts; a killed run has written some after its last state."""
    with output_errors(log):
        lines = log.read_bytes().decode(errors="replace").splitlines() if log.exists() else []
    kept = [line for line in lines if _kimg_of(line) <= kimg]
    write_bytes(log, "".join(f"{line}\n" for line in kept).encode())


def _kimg_of(line: str) -> float:
    try:
        return float(json.loads(line)["kimg"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return math.inf  # half a line of a killed run, or something that no run writes


def _write_log(log: Path | None, tick: Any) -> None:
    """Add a line, unless training has diverged: then stop, before a snapshot spoils the last good state."""
    values = {name: value for name, value in dataclasses.asdict(tick).items() if value is not None}
    if not all(map(math.isfinite, _numbers(values.values()))):
        raise RelatentError(
            f"training diverged before {tick.kimg:g} kimg: the losses are no longer finite. Go on from the last state "
            "(--resume) or start again, with a smaller --lr or --precision float32; a generator, with a larger --gamma."
        )
    if log:
        _append(log, values)


def _append(log: Path, values: dict[str, Any]) -> None:
    with output_errors(log), log.open("a") as file:
        file.write(json.dumps(values) + "\n")


def _numbers(values: Iterable[Any]) -> list[float]:
    return [number for value in values for number in (value if isinstance(value, list) else [value])]
