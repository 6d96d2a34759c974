"""The loop of a training that leaves one file: ticks go to a log beside it, snapshots replace it on the way."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from relatent.core.files import output_errors
from stylegan.training.run import Schedule

T = TypeVar("T", covariant=True)


class Run(Protocol[T]):
    """What steps through the data: a trainer of any kind."""

    @property
    def done(self) -> bool: ...

    def run_tick(self, images: int) -> T: ...


def run_to_end(
    trainer: Run[T],
    out: Path,
    schedule: Schedule,
    write_snapshot: Callable[[], None],
    on_tick: Callable[[T], None] | None = None,
) -> None:
    """Train until the trainer is done.

    Args:
        trainer: steps and reports a tick, a dataclass.
        out: the file the training makes; the log is called after it.
        schedule: how long a tick is and how often a snapshot is written; one is always written at the end.
        write_snapshot: writes the result so far, and the state to go on from.
        on_tick: called with each tick.

    Raises:
        OutputError: the log cannot be written.
    """
    ticks = 0
    while not trainer.done:
        tick = trainer.run_tick(round(schedule.tick_kimg * 1000))
        ticks += 1
        _append(out.with_suffix(".log.jsonl"), tick)
        if on_tick:
            on_tick(tick)
        if ticks % schedule.snapshot_ticks == 0 and not trainer.done:
            write_snapshot()
    write_snapshot()


def state_path(out: Path) -> Path:
    """Where the state of the training that makes ``out`` lies."""
    return out.with_suffix(".state.safetensors")


def _append(path: Path, tick: Any) -> None:
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as log:
            log.write(json.dumps(dataclasses.asdict(tick)) + "\n")
