"""Measures the peak memory of some steps in a new process, so that earlier work does not hide it.

    python -m benchmarks.peak_memory --size 64 --form ours --batch 4

prints one line of JSON: on a GPU what PyTorch allocated, else what the process held (Linux); and what of it came with
the steps.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import torch

from benchmarks.steps import network_of, ours, photos_of, published
from relatent.core import cpu

ROOT = Path(__file__).parents[1]
STEPS = 3


@click.command()
@click.option("--size", type=int, required=True, help="Pixels along a side.")
@click.option("--form", "kind", type=click.Choice(["published", "ours"]), required=True)
@click.option("--batch", default=1, show_default=True, help="Photos together.")
@click.option("--device", default="cpu", show_default=True)
def main(size: int, kind: str, batch: int, device: str) -> None:
    """Do a few steps and print the peak."""
    where = torch.device(device)
    if kind == "ours":
        cpu.prepare(where)  # as whatever inverts does
    network = network_of(size, where)
    photos = photos_of(size, batch, where)
    form = published(network, photos) if kind == "published" else ours(network, photos)
    network.w_std()
    if where.type == "cuda":
        before = torch.cuda.memory_allocated(where)
        torch.cuda.reset_peak_memory_stats(where)
        form(STEPS)
        peak = torch.cuda.max_memory_allocated(where)
    else:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of what came before
        before = _kilobytes("VmRSS") * 1024
        form(STEPS)
        peak = _kilobytes("VmHWM") * 1024
    click.echo(json.dumps({"peak_mb": round(peak / 2**20), "of_steps_mb": round((peak - before) / 2**20)}))


def in_a_new_process(size: int, kind: str, batch: int, device: str) -> dict[str, int]:
    """What this module prints."""
    command = [sys.executable, "-m", "benchmarks.peak_memory", "--size", size, "--form", kind, "--batch", batch]
    done = subprocess.run(
        [str(part) for part in [*command, "--device", device]], cwd=ROOT, check=True, capture_output=True, text=True
    )
    peaks: dict[str, int] = json.loads(done.stdout)
    return peaks


def _kilobytes(name: str) -> int:
    """What Linux says of this process's memory: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(name)))


if __name__ == "__main__":
    main()
