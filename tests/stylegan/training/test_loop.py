"""One loop for every training: what it writes and when, with a trainer that only counts."""

import json
import math
from dataclasses import dataclass, field

import pytest

from relatent.core.errors import RelatentError
from stylegan.training.loop import Schedule, run_to_end


@dataclass
class Tick:
    kimg: float
    losses: list[float] = field(default_factory=lambda: [1.0, 2.0])
    distance: float | None = None


class Counting:
    """Takes ten pictures a step."""

    def __init__(self, images_seen=0, loss=1.0):
        self.images_seen, self.loss, self.asked = images_seen, loss, []

    def run_tick(self, images, until=math.inf):
        self.asked.append(images)
        self.images_seen += max(10, images)
        return Tick(self.images_seen / 1000, [self.loss])


def lines(log):
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_ticks_snapshots_and_the_end(tmp_path):
    trainer, log, seen, ticks = Counting(), tmp_path / "run" / "log.jsonl", [], []

    def snapshot():
        seen.append(trainer.images_seen)
        return f"network {trainer.images_seen}"

    last = run_to_end(
        trainer,
        log,
        Schedule(kimg=0.09, tick_kimg=0.02, snapshot_ticks=2),
        snapshot,
        before_snapshot=lambda tick: Tick(tick.kimg, tick.losses, 7.0),
        on_tick=ticks.append,
    )
    assert (last, seen) == ("network 90", [40, 80, 90])
    assert trainer.asked == [20, 20, 20, 20, 10]
    assert [line["kimg"] for line in lines(log)] == [tick.kimg for tick in ticks] == [0.02, 0.04, 0.06, 0.08, 0.09]
    assert [line.get("distance") for line in lines(log)] == [None, 7.0, None, 7.0, 7.0]


def test_what_a_killed_run_logged_beyond_its_state_is_dropped(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"kimg": 0.02}\n{"kimg": 0.04}\n{"kimg": 0.06}\n{"kimg"')
    run_to_end(Counting(images_seen=40), log, Schedule(kimg=0.05), lambda: None)
    assert [line["kimg"] for line in lines(log)] == [0.02, 0.04, 0.05]


@pytest.mark.parametrize("damaged", [b"\xff\xfe", b'{"kimg": 1' + b"0" * 400 + b"}", b"[" * 100_000])
def test_a_damaged_log_is_gone_on_with(tmp_path, damaged):
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'{"kimg": 0.02}\n' + damaged + b'\n{"kimg": 0.04}\n')
    run_to_end(Counting(images_seen=40), log, Schedule(kimg=0.05), lambda: None)
    assert [line["kimg"] for line in lines(log)] == [0.02, 0.04, 0.05]


def test_a_finished_run_writes_its_results_again_and_takes_no_step(tmp_path):
    trainer = Counting(images_seen=50)
    assert run_to_end(trainer, tmp_path / "log.jsonl", Schedule(kimg=0.05), lambda: "again") == "again"
    assert not trainer.asked


def test_no_time_left_is_one_tick(tmp_path):
    trainer = Counting()
    run_to_end(trainer, tmp_path / "log.jsonl", Schedule(kimg=1, tick_kimg=0.01), lambda: None, until=0.0)
    assert trainer.asked == [10]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_diverged_run_stops_before_its_snapshot(tmp_path, loss):
    written = []
    with pytest.raises(RelatentError, match=r"diverged before 0\.05 kimg"):
        run_to_end(Counting(loss=loss), tmp_path / "log.jsonl", Schedule(kimg=0.05), lambda: written.append(1))
    assert not written
    assert (tmp_path / "log.jsonl").read_text() == ""
