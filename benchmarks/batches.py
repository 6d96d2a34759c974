"""How fast batches are, and whether their memory stays flat, with generated photos and the embedded network.

    python -m benchmarks.batches

loops    photos a minute of a batch with as many one-threaded workers as there are processors, of `invert()` in a loop
         in one process, which uses all processors for one photo, and of a loop over the command with one photo
workers  a batch with one worker and with two
ray      the same on a Ray cluster that is started here
memory   memory of all processes of a batch after 200 photos and after 2,000. Its photos get one step, and no identity
         distance, so that it takes minutes; everything else is as always

Batches and loops are timed when they have started: from the result by which each worker has given its first photos,
which it optimises together, to the last.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import torch
from PIL import Image

from benchmarks.machine import describe
from inversion.batch.engine import Engine, Wanted
from inversion.batch.inverter import Inverter, InvertWork, work_of
from inversion.batch.opening import opened_manifest
from inversion.batch.workers import Workers
from inversion.config import InvertConfig
from inversion.pipeline import Pipeline, open_network
from relatent.core import cpu
from relatent.core.files import write_bytes
from relatent.core.images import to_pixels
from relatent.face import find_faces

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "batches.json"
PARTS = ("loops", "workers", "ray", "memory")
COUNTS = {"fast": 32, "balanced": 16}  # photos of a batch; each worker gets as many
LOOPS = {"fast": 8, "balanced": 3}  # photos of a loop
COMMANDS = {"fast": 4, "balanced": 2}  # runs of the command with one photo
SIDE, FACE = 320, 224  # px; of the photos, and of the face in them
EARLY, LATE = 200, 2000  # photos

LOOP = """
import json, sys, time
from pathlib import Path
from inversion import invert
times = []
for photo in sorted(Path(sys.argv[1]).iterdir())[: int(sys.argv[3])]:
    invert(photo, preset=sys.argv[2])
    times.append(time.perf_counter())
print(json.dumps((len(times) - 1) / (times[-1] - times[0])))
"""
BATCH = """
import json, sys, time
from pathlib import Path
from inversion import InvertConfig
from inversion.batch_size import TOGETHER
from inversion.batch.run import BatchOptions, project_photos
if __name__ == "__main__":
    folder, preset, count, out, options = sys.argv[1:]
    photos = sorted(Path(folder).iterdir())[: int(count)]
    times = []
    options = BatchOptions(**json.loads(options))
    for one in project_photos(photos, Path(out), None, InvertConfig(preset=preset), options):
        assert one.status == "done", one
        times.append(time.perf_counter())
    started = TOGETHER * options.workers
    print(json.dumps((len(times) - started) / (times[-1] - times[started - 1])))
"""


@click.command()
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), default=PARTS, help="What to measure.")
def main(parts: tuple[str, ...]) -> None:
    """Measure and write results/batches.json; other parts of an earlier run stay."""
    result: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        make_photos(photos, max(COUNTS.values()))
        for part in parts:
            result[part] = globals()[f"measure_{part}"](photos, Path(folder))
            result.setdefault("machines", {})[part] = describe()
            write_bytes(RESULT, (json.dumps(result, indent=2) + "\n").encode())
            click.echo(f"{part}: {json.dumps(result[part])}")


def make_photos(folder: Path, count: int, *, checked: bool = True) -> None:
    """Photos of generated faces, one in each; ``checked`` leaves out those in which none is found."""
    folder.mkdir()
    made = 0
    for picture in _faces():
        photo = Image.new("RGB", (SIDE, SIDE), "grey")
        photo.paste(picture.resize((FACE, FACE), Image.Resampling.BICUBIC), ((SIDE - FACE) // 2, (SIDE - FACE) // 2))
        path = folder / f"{made:05}.jpg"
        photo.save(path, quality=92)
        if not checked or find_faces(to_array(path)):
            made += 1
        if made == count:
            return


def to_array(path: Path) -> Any:
    """A photo's pixels, uint8 [H, W, 3]."""
    import numpy as np

    with Image.open(path) as photo:
        return np.asarray(photo.convert("RGB"))


@torch.no_grad()
def _faces() -> Iterator[Image.Image]:
    network, seed = open_network(), 0
    while True:
        z = torch.randn(16, network.z_dim, generator=torch.Generator().manual_seed(seed))
        for pixels in to_pixels(network.synthesis(network.mapping(z, None, truncation_psi=0.7))):
            yield Image.fromarray(pixels)
        seed += 1


def measure_loops(photos: Path, folder: Path) -> dict[str, Any]:
    """Photos a minute of a batch, of a loop in one process, and of a loop over the command."""
    found: dict[str, Any] = {}
    for preset, count in COUNTS.items():
        batch = _batch(photos, folder, preset, count, {"workers": cpu.processors()})
        click.echo(f"{preset}: {60 * batch:.1f} a minute in a batch")
        loop = float(_timed("-c", LOOP, photos, preset, LOOPS[preset])[1])
        click.echo(f"{preset}: {60 * loop:.1f} a minute in a loop")
        single = 0.0
        for number, photo in enumerate(sorted(photos.iterdir())[: COMMANDS[preset]]):
            out = folder / f"{preset}-{number}"
            single += _timed("-m", "inversion.project", photo, "--preset", preset, "--outdir", out)[0]
        rates = {"batch": batch, "invert in a loop": loop, "the command": COMMANDS[preset] / single}
        found[preset] = {
            "photos": count,
            "workers": cpu.processors(),
            "photos a minute": {name: round(60 * rate, 1) for name, rate in rates.items()},
            "times as fast": {name: round(rates["batch"] / rates[name], 2) for name in list(rates)[1:]},
        }
        click.echo(f"{preset}: {json.dumps(found[preset])}")
    return found


def measure_workers(photos: Path, folder: Path) -> dict[str, Any]:
    """Photos a minute with one worker and with two."""
    return {preset: _scaling(photos, folder, preset, count, {}) for preset, count in COUNTS.items()}


def measure_ray(photos: Path, folder: Path) -> dict[str, Any]:
    """The same on a Ray cluster."""
    return {"fast": _scaling(photos, folder, "fast", COUNTS["fast"], {"ray": "local"})}


def _scaling(photos: Path, folder: Path, preset: str, count: int, options: dict[str, object]) -> dict[str, Any]:
    one, two = (_batch(photos, folder, preset, count, {**options, "workers": number}) for number in (1, 2))
    return {
        "photos": count,
        "photos a minute": {"1 worker": round(60 * one, 1), "2 workers": round(60 * two, 1)},
        "times as fast": round(two / one, 2),
    }


def _batch(photos: Path, folder: Path, preset: str, count: int, options: dict[str, object]) -> float:
    """Photos a second of a batch that has started."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        script = folder / "batch.py"  # a file: worker processes import what starts them
        script.write_text(BATCH)
        return float(_timed(script, photos, preset, count, out, json.dumps(options))[1].splitlines()[-1])


def _timed(*arguments: object) -> tuple[float, str]:
    started = time.perf_counter()
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, env=_environment())
    return time.perf_counter() - started, done.stdout


def _environment() -> dict[str, str]:
    import os

    free = {name: value for name, value in os.environ.items() if name not in cpu.THREADS_FROM_OUTSIDE}
    return {**free, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}


class Quick(InvertWork):
    """Work without the identity distance, which takes most of the time of one step."""

    def open(self) -> Inverter:
        """Load networks."""
        from inversion import metrics

        metrics.identity_distance = lambda *_, **__: None  # type: ignore[assignment]
        return super().open()


def measure_memory(_: Path, folder: Path) -> dict[str, Any]:
    """MiB of all processes of a batch, early and late in it."""
    photos, out = folder / "many", folder / "out"
    make_photos(photos, LATE, checked=False)
    config = InvertConfig(num_steps=1)
    work = work_of(Pipeline(None, config), None)
    quick = Quick(**{one.name: getattr(work, one.name) for one in dataclasses.fields(work)})
    sizes: dict[int, float] = {}
    settled = 0
    with opened_manifest(out) as manifest:
        engine = Engine(manifest, Wanted(work.settings))
        for _ in engine.run(sorted(photos.iterdir()), Workers(cpu.processors(), quick, quick.worker_batch_size)):
            settled += 1
            if settled % EARLY == 0:
                sizes[settled] = _memory()
    return {
        "MiB": {str(count): round(size) for count, size in sizes.items()},
        "growth": round(sizes[LATE] / sizes[EARLY] - 1, 4),
    }


def _memory() -> float:
    """MiB of this process and those it started; what several share counts in parts.

    Mapped files are left out, because their part depends on which other programs have them open.
    """
    import multiprocessing
    import os

    total = 0.0
    for process in (os.getpid(), *(child.pid for child in multiprocessing.active_children())):
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:"))) / 1024
    return total


if __name__ == "__main__":
    main()
