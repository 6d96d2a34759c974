"""The training loop of encoders and backbones: logs ticks, and writes snapshots of the result and the state."""

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
    """The interface of a trainer."""

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
        trainer: its ticks are dataclasses.
        out: the result; the log is written beside it, as OUT.log.jsonl.
        schedule: length of a tick, and ticks between snapshots; one is always written at the end.
        write_snapshot: writes the result and the training state.
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
    """The path of the training state beside ``out``."""
    return out.with_suffix(".state.safetensors")


def _append(path: Path, tick: Any) -> None:
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as log:
            log.write(json.dumps(dataclasses.asdict(tick)) + "\n")
