"""The command for a GPU: rehearsed whole at a tiny size, where only a few packages are installed; a cut run counts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import parts
from benchmarks.gpu.parts import PARTS, Bench, attempted, without_places
from benchmarks.gpu.record import Record, Row

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
# What Relatent needs elsewhere, and a machine with a GPU may lack.
MISSING = (
    "lpips", "dlib", "gradio", "pytorch_msssim", "imageio_ffmpeg", "pillow_heif", "face_recognition_models",
    "matplotlib", "playwright", "ray",
)  # fmt: skip
PROGRAM = "import sys; sys.modules.update(dict.fromkeys({missing!r})); import runpy; runpy.run_module({module!r}, run_name='__main__')"  # fmt: skip # noqa: E501


def run(folder, *arguments, seconds=600):
    command = [sys.executable, "-c", PROGRAM.format(missing=MISSING, module="benchmarks.gpu"), "--device", "cpu"]
    done = subprocess.run(
        [*command, "--folder", str(folder), *arguments], cwd=ROOT, capture_output=True, text=True, timeout=seconds
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "gpu.json").read_text()), (folder / "gpu.md").read_text()


def test_results_keep_no_paths_of_the_machine():
    text = (
        f"platform linux -- {sys.executable}\nrootdir: {ROOT}\n{sys.prefix}/lib/torch/a.py:3: ResourceWarning: unclosed"
    )
    assert sys.prefix not in without_places(text)
    assert str(ROOT) not in without_places(text)
    assert "/lib/torch/a.py:3: ResourceWarning: unclosed" in without_places(text)


@pytest.mark.slow
def test_rehearsal(tmp_path, monkeypatch):
    monkeypatch.setenv("RELATENT_CUDA_TESTS", "tests/cuda/test_against_the_cpu.py")
    found, table = run(tmp_path, "--tiny", "--minutes", "20")
    assert found["complete"]
    assert {row["part"] for row in found["rows"]} == set(PARTS)
    sliders = [row for row in found["rows"] if row["part"] == "slider"]
    assert [row["what"] for row in sliders] == ["16 px, a move to its JPEG", "128 px, a move to its JPEG"]
    assert all(row["value"] > 0 for row in sliders)
    assert "| slider | 16 px, a move to its JPEG |" in table
    failed = [row for row in found["rows"] if "failed" in str(row["value"]) or "not begun" in str(row["value"])]
    assert not failed
    assert next(row["value"] for row in found["rows"] if row["part"] == "tests").startswith("passed")
    roofs = [row["more"]["share_of_roofline"] for row in found["rows"] if "share_of_roofline" in row["more"]]
    assert len(roofs) == 4
    assert all(0 < share < 2 for share in roofs)
    assert len(found["profile, 16 px, graph"]) == 10
    assert table.count("\n|") == len(found["rows"]) + 2


def test_a_figure_that_fails_costs_that_figure():
    def fails():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmuch")

    row = attempted("step", "16 px", fails)
    assert row.value == "failed: OutOfMemoryError: CUDA out of memory. Tried to allocate"
    assert row.met is None


def test_a_cut_run_counts(tmp_path):
    record = Record(tmp_path, "gpu", {"device": "cpu"})
    record.add(Row("step", "16 px | odd", 12.3456, "ms", "10 ms", False))
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert not found["complete"]
    assert found["rows"][0]["value"] == 12.3456
    table = (tmp_path / "gpu.md").read_text()
    assert "cut short after" in table
    assert "| step | 16 px / odd | 12.35 ms | 10 ms | missed |" in table
    record.write(complete=True)
    assert "; complete after" in (tmp_path / "gpu.md").read_text()


def test_a_part_ends_when_its_time_is_over():
    bench = Bench(CPU, True, 0.0, lambda name, value: None)  # a moment long past
    assert list(parts.step(bench)) == list(parts.hour(bench)) == list(parts.training(bench)) == []


def test_shares_are_of_the_whole():
    assert sum(share for share, _ in PARTS.values()) == pytest.approx(1.0)


def test_without_pytest(monkeypatch):
    monkeypatch.setattr(parts.importlib.util, "find_spec", lambda name: None)
    (row,) = parts.tests(Bench(CPU, True, 0.0, lambda name, value: None))
    assert row.value == "not run: there is no pytest"


def test_the_astronaut_at_every_size():
    for size in (16, 64, 256, 512):
        image = parts.astronaut(size)
        assert image.shape == (1, 3, size, size)
        assert image.abs().max() <= 1
        assert image.std() > 0.3
