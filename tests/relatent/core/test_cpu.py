"""A CPU's memory and threads are seen to, and not where the environment has its own say."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from relatent.core import cpu

# In one process of its own: what is asked of a process's memory holds for all of it.
PROGRAM = """
import ctypes, json, os, sys, time
from pathlib import Path
import numpy as np
import torch
from relatent.core import cpu

def computes_after_a_fork():
    torch.set_num_threads(2)
    picture, weight = torch.ones(4, 16, 64, 64), torch.ones(16, 16, 3, 3)
    before = torch.conv2d(picture, weight)
    child = os.fork()
    if child == 0:
        after = torch.conv2d(picture, weight)  # hung: the threads of the parent do not exist here
        os._exit(3 if torch.equal(before, after) and torch.get_num_threads() == 1 else 4)
    for _ in range(600):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.05)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
    return [os.waitstatus_to_exitcode(status) if done else "hangs", torch.get_num_threads()]

def pages_taken():
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        first, second = np.ones(6_000_000), np.ones(6_000_000)  # 48 MB each: beyond what glibc keeps by itself
        del first, second
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def held():
    return next(int(line.split()[1]) // 1024 for line in Path("/proc/self/status").read_text().splitlines()
                if line.startswith("VmRSS"))

def memory():
    pages = pages_taken()
    kept = [cpu.keep_freed_memory(), pages, pages_taken()]
    ctypes.CDLL(None).malloc_trim(0)
    cpu.KEPT = 2**26
    before = held()
    try:
        with cpu.prepared(torch.device("cpu")):
            blocks = [np.ones(2_000_000) for _ in range(30)]  # 16 MB each
            del blocks
            during = held()
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return kept, [during - before, held() - before]

found = {}
if hasattr(os, "fork"):
    found["forked"] = computes_after_a_fork()
if sys.argv[1] == "glibc":
    found["kept"], found["held"] = memory()
print(json.dumps(found))
"""

GLIBC = platform.libc_ver()[0] == "glibc"


@pytest.fixture(scope="module")
def found():
    """What the program finds."""
    clean = {name: value for name, value in os.environ.items() if name not in cpu.MEMORY_FROM_OUTSIDE}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "glibc" if GLIBC else "another"],
        cwd=Path(__file__).parents[3],
        env=clean,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(not GLIBC, reason="only glibc can be asked")
def test_blocks_are_not_taken_from_the_system_again(found):
    asked, before, after = found["kept"]
    assert asked
    assert after < before / 4


@pytest.mark.skipif(not GLIBC, reason="only glibc can be asked")
def test_memory_is_handed_back_when_work_is_over_or_broken_off(found):
    during, after = found["held"]
    assert during > 400  # MB
    assert after < 100


@pytest.mark.parametrize("name", cpu.MEMORY_FROM_OUTSIDE)
def test_the_environment_has_its_say_on_memory(monkeypatch, name):
    def refuse(*_):
        raise AssertionError("the C library was asked")

    monkeypatch.setattr(cpu, "_c_library", refuse)
    monkeypatch.setattr(cpu.platform, "libc_ver", lambda: ("glibc", "2.36"))
    for other in cpu.MEMORY_FROM_OUTSIDE:
        monkeypatch.delenv(other, raising=False)
    decide = cpu.keep_freed_memory.__wrapped__
    with pytest.raises(AssertionError, match="was asked"):
        decide()
    monkeypatch.setenv(name, "1000000")
    assert decide() is False


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "200000 100000\n"}, 2.0),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_quota_of_either_version(tmp_path, files, expected):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cpu.quota(tmp_path) == expected


@pytest.fixture
def eight_threads(monkeypatch):
    """A process that has eight threads, and what it sets; nothing of it reaches this one's."""
    threads = [8]
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: threads.__setitem__(0, count))
    for name in cpu.THREADS_FROM_OUTSIDE:
        monkeypatch.delenv(name, raising=False)
    cpu.respect_quota.cache_clear()
    yield threads
    cpu.respect_quota.cache_clear()


@pytest.mark.parametrize(("share", "expected"), [(2.0, 2), (1.5, 2), (0.2, 1), (64.0, 8), (None, 8)])
def test_threads_fit_the_quota(eight_threads, monkeypatch, share, expected):
    monkeypatch.setattr(cpu, "quota", lambda cgroups: share)
    cpu.prepare(torch.device("cpu"))
    assert eight_threads == [expected]


def test_who_names_a_number_of_threads_gets_it(eight_threads, monkeypatch):
    monkeypatch.setattr(cpu, "quota", lambda cgroups: 2.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert cpu.respect_quota() == 8


def test_a_number_that_is_set_later_stays(eight_threads, monkeypatch):
    monkeypatch.setattr(cpu, "quota", lambda cgroups: 2.0)
    cpu.respect_quota()
    torch.set_num_threads(4)  # as the page's --threads does
    cpu.prepare(torch.device("cpu"))
    assert eight_threads == [4]


def test_other_devices_are_left_alone(eight_threads, monkeypatch):
    monkeypatch.setattr(cpu, "quota", lambda cgroups: 2.0)
    cpu.prepare(torch.device("cuda"))
    assert eight_threads == [8]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_computes(found):
    assert found["forked"] == [3, 2]
