"""The one command for a GPU: what it begins with, that no part can spoil the next, and a rehearsal of all of it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from relatent.core.errors import UsageError
from stylegan import load, save_generator
from stylegan.training.state import images_seen
from training import on_gpu, rehearsal

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return rehearsal.make(tmp_path_factory.mktemp("rehearsal"))


class TestNewestState:
    def test_most_pictures_of_this_size(self, made, tmp_path, tiny_generator):
        from stylegan.training.loop import Schedule
        from stylegan.training.run import train
        from stylegan.training.state import read_settings

        (state,) = made[1].iterdir()
        schedule = Schedule(kimg=0.012)
        train(read_settings(state), tmp_path / "run", schedule, device=torch.device("cpu"), resume=state)
        save_generator(tiny_generator, tmp_path / "a-network.safetensors")
        (tmp_path / "b-old.safetensors").write_bytes(state.read_bytes())
        (tmp_path / "c-new.safetensors").write_bytes((tmp_path / "run" / "training-state.safetensors").read_bytes())
        (tmp_path / "d-old.safetensors").write_bytes(state.read_bytes())
        side = rehearsal.RESOLUTION
        assert on_gpu.newest_state(tmp_path, side) == (tmp_path / "c-new.safetensors", "--resume")
        assert on_gpu.newest_state(tmp_path, 2 * side) == (tmp_path / "c-new.safetensors", "--grow-from")

    def test_none(self, made, tmp_path):
        for folder, side in ((tmp_path, 16), (made[1], 64)):
            with pytest.raises(UsageError, match="holds no training state"):
                on_gpu.newest_state(folder, side)


class TestTree:
    """What travels to a GPU."""

    @staticmethod
    def tracked():
        try:
            listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("there is no git, or no checkout")
        names = [name for name in listed.decode().split("\0") if name]
        return {name: (ROOT / name).stat().st_size / 2**20 for name in names if (ROOT / name).is_file()}

    def test_whole(self):
        assert sum(self.tracked().values()) < 60

    def test_for_training(self):
        sizes = self.tracked()
        left_out = {name for name in sizes if name.startswith(on_gpu.LEFT_OUT)}
        assert left_out
        assert sum(size for name, size in sizes.items() if name not in left_out) < 30

    @pytest.mark.parametrize("file", ["on_gpu.sh", "README.md"])
    def test_instructions_name_what_is_left_out(self, file):
        text = (ROOT / "training" / file).read_text()
        weights = [Path(name).stem for name in on_gpu.LEFT_OUT if name.endswith(".safetensors")]
        assert f"rm -r weights/faces-128/{{{','.join(weights)}}}.safetensors docs/images benchmarks/results" in text


class TestParts:
    def run(self, tmp_path, code, seconds=60.0):
        return on_gpu.run_part("part", ["-c", code], tmp_path / "log", seconds)

    def test_fails_or_hangs_and_the_next_goes_on(self, tmp_path, capsys):
        assert self.run(tmp_path, "print('one', flush=True); raise SystemExit(3)") == 3
        assert self.run(tmp_path, "import time; print('two', flush=True); time.sleep(600)", seconds=1.0) is None
        assert self.run(tmp_path, "print('three')") == 0
        assert (tmp_path / "log").read_text().split() == ["one", "two", "three"]
        said = capsys.readouterr().out
        assert "part: status 3" in said
        assert "part: stopped" in said


class TestTraining:
    def commands(self, monkeypatch, tmp_path, outcomes):
        seen = []

        def watch(command, run, out, end):
            seen.append(command)
            (out / "train.txt").write_text("no compiler")
            status, snapshot = outcomes[len(seen) - 1]
            if snapshot:
                (out / "state.safetensors").touch()
            return status

        monkeypatch.setattr(on_gpu, "watch", watch)
        on_gpu.train(["--batch", "8", "--compile"], tmp_path, tmp_path, time.monotonic() + 600)
        return seen

    def test_again_without_compiling(self, monkeypatch, tmp_path):
        first, second = self.commands(monkeypatch, tmp_path, [(1, False), (0, True)])
        assert "--compile" in first
        assert "--no-compile" in second
        minutes = float(first[first.index("--minutes") + 1])
        assert 9 < minutes < (600 - on_gpu.WRITING) / 60 + 1e-3
        assert first[first.index("--outdir") + 1] != second[second.index("--outdir") + 1]

    def test_but_not_once_there_is_a_snapshot(self, monkeypatch, tmp_path):
        assert len(self.commands(monkeypatch, tmp_path, [(1, True)])) == 1

    def test_nothing_came_of_it(self, monkeypatch, tmp_path):
        with pytest.raises(UsageError, match="no snapshot"):
            self.commands(monkeypatch, tmp_path, [(1, False), (None, False)])


@pytest.mark.slow
def test_rehearsal(tmp_path):
    test = "tests/cuda/test_training_and_inverting.py::test_same_networks_and_pictures_at_the_start"
    command = ["bash", "training/on_gpu.sh", "--rehearse", "--out", str(tmp_path), "--tests", test]
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    names = {"parts.txt", "times.json", "times.md", "train.txt", "log.jsonl", "samples.png"}
    assert {file.name for file in tmp_path.iterdir()} == names | {"network.safetensors", "state.safetensors"}
    assert "1 passed" in (tmp_path / "parts.txt").read_text()
    times = json.loads((tmp_path / "times.json").read_text())
    assert times["complete"]
    assert {row["part"] for row in times["rows"]} == set(on_gpu.TIMED)
    assert all(isinstance(row["value"], float) for row in times["rows"] if row["part"] != "facts")
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert (log[0]["kimg"], log[-1]["kimg"]) == (0.064, 0.2)  # 8 pictures in fours, then eights
    assert math.isfinite(log[-1]["distance"])
    assert images_seen(tmp_path / "state.safetensors") == 200
    assert load(tmp_path / "network.safetensors").resolution == rehearsal.RESOLUTION
    with Image.open(tmp_path / "samples.png") as samples:
        assert samples.size == (12 * rehearsal.RESOLUTION, 8 * rehearsal.RESOLUTION)
