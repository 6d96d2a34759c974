"""The benchmark of speed at a size that takes seconds: every part, written as it comes, not measured twice."""

import dataclasses
import json
from contextlib import nullcontext

import pytest
import torch
from click.testing import CliRunner

from benchmarks import peak_memory, speed
from benchmarks.steps import photos_of, published
from benchmarks.timing import Here, PublishedElsewhere, timed
from benchmarks.until import until
from inversion import presets as settings
from inversion.presets import BALANCED, PAPER, Plan
from stylegan.networks.mapping import MappingNetwork

pytestmark = pytest.mark.slow  # runs a benchmark at a tiny size


@pytest.fixture
def bench(tiny_generator, tmp_path, monkeypatch):
    """Runs the benchmark on the tiny network in place of the embedded one into tmp_path."""
    monkeypatch.setattr(speed, "network_of", lambda size, device: tiny_generator)
    monkeypatch.setattr(speed, "EMBEDDED_SIZE", 32)
    # In this process, too: one of its own would not know the tiny network.
    monkeypatch.setattr(
        speed,
        "PublishedElsewhere",
        lambda size, device, clock: nullcontext(Here(published(tiny_generator, photos_of(size, 1, device)), device)),
    )
    monkeypatch.setattr(speed, "in_a_new_process", lambda *_: {"peak_mb": 2, "of_steps_mb": 1})
    monkeypatch.setattr(torch, "compile", lambda form, **_: form)  # which would take a minute
    short = {"paper": Plan(optimiser=dataclasses.replace(PAPER, num_steps=3))}
    short["balanced"] = Plan(optimiser=dataclasses.replace(BALANCED, num_steps=6))
    monkeypatch.setattr(settings, "PRESETS", {**settings.PRESETS, **short})

    def run(*arguments):
        options = ["--sizes", 32, "--steps", 2, "--rounds", 1, "--folder", tmp_path, "--batches", 1, "--batches", 2]
        result = CliRunner().invoke(speed.main, list(map(str, [*options, *arguments])))
        assert result.exit_code == 0, result.output
        return json.loads((tmp_path / "speed.json").read_text())["sizes"]["32"], result.output

    return run


def test_all_parts(bench):
    found, text = bench("--device", "cpu")
    assert set(found) == set(speed.PARTS)
    step = found["step"]["found"]
    assert set(step) == {"published", speed.KEPT, "ours, 1 together", "ours, 2 together"}
    assert step["published"]["times_as_fast"] == 1
    hour = found["hour"]["found"]["2"]
    assert hour["photos_an_hour"] == pytest.approx(3_600_000 / hour["milliseconds"] / 6, rel=0.01)
    assert set(found["precision"]["found"]) == {"float32", "bfloat16"}
    compiled = found["compile"]["found"]["1"]
    assert compiled["times_as_fast"] == pytest.approx(compiled["plain_milliseconds"] / compiled["milliseconds"], 0.01)
    assert found["floor"]["found"]["peaks"]["peak_gflops"] > 0
    assert found["until"]["found"]["paper_steps"] == 3
    for title in ("One step", "Photos by", "Precision", "torch.compile", "Peak memory", "Least time", "Until"):
        assert title in text


def test_what_is_there_is_not_measured_again(bench):
    first, _ = bench("--parts", "step")
    assert set(first) == {"step"}
    second, _ = bench("--parts", "step", "--parts", "memory")
    assert second["step"] == first["step"]
    assert second["memory"]["found"]["published"] == {"peak_mb": 2, "of_steps_mb": 1}
    third, _ = bench("--parts", "step", "--overwrite", "--clock", "processor")
    assert third["step"]["clock"] == "processor"
    assert third["memory"] == second["memory"]


def test_time_is_for_one_step_of_one_photo():
    now, calls = [0.0], []

    def form(steps):
        calls.append(steps)
        now[0] += 0.006 * steps * (10 if len(calls) == 1 else 1)  # the first warms up

    rows = timed({"a": (3, Here(form, torch.device("cpu"), lambda: now[0]))}, 5, 2)
    assert rows == {"a": {"milliseconds": 2.0, "fastest": 2.0, "slowest": 2.0}}
    assert calls == [5, 5, 5]


def test_the_published_form_is_timed_in_a_process_of_its_own():
    with PublishedElsewhere(32, torch.device("cpu"), "wall") as elsewhere:
        elsewhere.seconds(1)  # what is computed once
        assert elsewhere.seconds(2) > 0
    assert elsewhere.process.exitcode == 0


def test_until_the_yardstick_is_reached(tiny_generator, monkeypatch):
    with torch.no_grad():
        images = tiny_generator(torch.randn(2, 16, generator=torch.Generator().manual_seed(0)))
    monkeypatch.setattr(MappingNetwork, "map", lambda self, z, c=None: z.new_zeros(len(z), 24))  # no spread, no jitter
    paper = Plan(optimiser=dataclasses.replace(PAPER, num_steps=2))
    same = until(tiny_generator, images, paper, Plan(optimiser=dataclasses.replace(PAPER, num_steps=40)))
    assert same["reached"] == "2 of 2"
    assert all(1 < step < 40 for step in same["steps"])
    assert same["seconds"] > 0
    still = dataclasses.replace(BALANCED, num_steps=2, learning_rate=1e-6)
    never = until(
        tiny_generator, images, Plan(optimiser=dataclasses.replace(PAPER, num_steps=40)), Plan(optimiser=still)
    )
    assert (never["reached"], never["seconds"], never["times_as_fast"]) == ("0 of 2", None, None)


@pytest.mark.skipif(not peak_memory.Path("/proc/self/clear_refs").exists(), reason="reads Linux's account of memory")
def test_peak_memory_is_that_of_the_steps():
    found = peak_memory.in_a_new_process(128, "ours", 2, "cpu")  # where no earlier test has left memory to use again
    assert 0 < found["of_steps_mb"] < found["peak_mb"]
