"""Scratch folders: gone with their process, however it ended, and nobody else's touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from relatent.core import scratch
from relatent.core.scratch import LOCK_FILE, ScratchFolder, remove_abandoned

ROOT = Path(__file__).parents[3]
PREFIX = "relatent-test-"
LIVING = f"""
import sys
from relatent.core.scratch import ScratchFolder
folder = ScratchFolder({PREFIX!r})
(folder.path / "me.png").touch()
print(folder.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_private_and_removed(temporary):
    folder = ScratchFolder(PREFIX)
    assert folder.path.parent == temporary
    assert folder.path.stat().st_mode & 0o077 == 0
    (folder.path / "a" / "b").mkdir(parents=True)
    assert remove_abandoned(PREFIX) == 0  # its owner lives
    folder.remove()
    assert list(temporary.iterdir()) == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_what_a_killed_process_left_is_removed_and_no_other(temporary):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", LIVING], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    killed, living = (Path(process.stdout.readline().strip()) for process in processes)
    processes[0].kill()
    processes[0].wait()
    for name in ("without-a-lock", "linked"):
        (temporary / f"{PREFIX}{name}").mkdir()
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / LOCK_FILE).touch()
    (temporary / f"{PREFIX}linked").rmdir()
    (temporary / f"{PREFIX}linked").symlink_to(elsewhere, target_is_directory=True)
    assert remove_abandoned(PREFIX) == 1
    assert not killed.exists()
    assert (living / "me.png").exists()
    assert (elsewhere / LOCK_FILE).exists()
    assert (temporary / f"{PREFIX}without-a-lock").exists()
    for process in processes:
        process.communicate()
    assert remove_abandoned(PREFIX) == 1  # the other has ended without removing it
    assert not living.exists()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owners here")
def test_what_is_somebody_else_s_stays(temporary, monkeypatch):
    folder = temporary / f"{PREFIX}theirs"
    folder.mkdir()
    (folder / LOCK_FILE).touch()
    monkeypatch.setattr(scratch.os, "getuid", lambda: os.geteuid() + 1)
    assert remove_abandoned(PREFIX) == 0
    assert folder.exists()
