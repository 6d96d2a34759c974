"""Memory that runs out, other processes on the same device, cancelling, and the page's queue."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from inversion import InvertConfig, invert_images
from inversion.batch_size import batch_size_for, bytes_of_step
from inversion.optim.optimisation import Optimisation
from inversion.pipeline import open_network
from relatent.core.device import AHEAD
from relatent.core.errors import Cancelled
from relatent.core.images import Photo
from stylegan import Generator, GeneratorConfig

pytestmark = pytest.mark.cuda
ROOT = Path(__file__).parents[2]
GIB = 2**30


@pytest.fixture
def limited(gpu):
    """Lets this process use so many bytes of the device."""
    whole = torch.cuda.get_device_properties(gpu).total_memory

    def limit(size):
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(gpu)
        torch.cuda.set_per_process_memory_fraction(min(1.0, size / whole), gpu)

    yield limit
    torch.cuda.set_per_process_memory_fraction(1.0, gpu)
    torch.cuda.empty_cache()


@pytest.fixture
def full_size(gpu):
    """1024 px, of published width, with random weights, of which memory does not depend."""
    torch.manual_seed(0)
    return open_network(Generator(GeneratorConfig(resolution=1024), name="full").to(gpu))


@pytest.mark.parametrize("gib", [16, 8])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_1024_px_fits(full_size, limited, gpu, gib, precision):
    limited(gib * GIB)
    images = torch.zeros(1, 3, 1024, 1024)
    (found,) = invert_images(images, full_size, preset="paper", num_steps=8, precision=precision)
    assert found.ws.isfinite().all()
    assert torch.cuda.max_memory_reserved(gpu) <= gib * GIB


def test_a_batch_that_does_not_fit_is_halved(full_size, limited):
    limited(8 * GIB)
    with pytest.warns(UserWarning, match="8 photos together need more memory .* going on with 4 together"):
        found = invert_images(torch.zeros(8, 3, 1024, 1024), full_size, preset="paper", num_steps=2)
    assert len(found) == 8


def test_the_batch_follows_free_memory(full_size, gpu, monkeypatch):
    free = torch.cuda.mem_get_info(gpu)[1]
    for gib, wanted in ((80, 4), (8, 1)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, gib=gib: (gib * GIB, free))
        assert batch_size_for(full_size) == wanted
    images = torch.zeros(1, 3, 1024, 1024)
    torch.cuda.reset_peak_memory_stats(gpu)
    before = torch.cuda.memory_allocated(gpu)
    invert_images(images, full_size, preset="paper", num_steps=2, execution="eager")
    taken = torch.cuda.max_memory_allocated(gpu) - before
    assert taken == pytest.approx(bytes_of_step(full_size), rel=0.5)


PROGRAM = """
import sys, torch
from inversion import invert_images
(found,) = invert_images(torch.zeros(1, 3, 64, 64), "faces-128", device=sys.argv[1], num_steps=5)
assert found.ws.isfinite().all()
"""


def test_two_processes(device):
    command = [sys.executable, "-c", PROGRAM, str(device)]
    both = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors


def test_cancelling_leaves_few_steps_to_wait_for(tiny_generator, device, monkeypatch):
    """The host is never more than a few steps ahead, so there are no more to end. The benchmark gives the seconds."""
    done = []
    advance = Optimisation.advance
    monkeypatch.setattr(Optimisation, "advance", lambda self: done.append(1) or advance(self))
    with pytest.raises(Cancelled, match="step 9 of 50"):
        invert_images(
            torch.zeros(1, 3, 32, 32), tiny_generator.to(device), num_steps=50, progress=lambda step: step.index < 9
        )
    assert len(done) == 9
    assert AHEAD <= 3


def test_the_pages_queue(device, tmp_path):
    from relatent.web.actions.invert import inverting
    from relatent.web.settings import Settings
    from relatent.web.state import AppState

    state = AppState.open(Settings(device=str(device)), tmp_path)
    photo = Photo(np.random.default_rng(0).integers(0, 256, (80, 70, 3), dtype=np.uint8), "me.png")
    tasks = [inverting(state, photo, None, InvertConfig(align=False, num_steps=8)) for _ in range(2)]
    jobs = [state.queue.start(task) for task in tasks]
    with state.network_lock.quick():  # between two steps of the job
        drawn = state.network.synthesis(state.network.w_avg.expand(1, state.network.num_ws, -1))
    assert drawn.isfinite().all()
    first, second = (job.result() for job in jobs)
    np.testing.assert_allclose(first.inversion.ws, second.inversion.ws, atol=0.05)
