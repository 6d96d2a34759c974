"""Transfer from the embedded network to a few pictures: python -m benchmarks.transfer FACES [--age 3-9 --count 100]

FACES is a folder with fairface-128.zip and labels.csv. The network is trained on COUNT faces of one age; the grid shows
samples of the same latents before (upper half) and after (lower half). Both are measured by their distance to the other
faces of that age, which the run has not seen.
"""

from __future__ import annotations

import csv
import json
import time
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
import torch
from PIL import Image

from benchmarks.machine import describe
from relatent.core.command import PATH, RelatentCommand
from relatent.core.files import atomic_file, write_bytes
from relatent.core.images import grid
from stylegan import Generator, load
from stylegan.__main__ import train_command
from stylegan.training.data.dataset import ImageDataset
from stylegan.training.validation import Validation, draw_samples
from weights.embedded import DEFAULT_NETWORK

FOLDER = Path(__file__).parent / "results"
COLUMNS, ROWS = 12, 4  # of each half of the grid
PSI = 0.8
SAMPLES = 1000  # for the distance
OPTIONS = {"batch": 16, "lr": 0.002, "augment": 0.4, "feature-weight": 0.5, "warmup-kimg": 0.5, "tick": 0.5, "snap": 4}


@click.command(cls=RelatentCommand)
@click.argument("faces", type=PATH)
@click.option("--age", default="3-9", show_default=True, help="As labels.csv names it.")
@click.option("--count", default=100, show_default=True, help="Faces to train on.")
@click.option("--kimg", default=8.0, show_default=True, help="Thousands of pictures.")
@click.option("--outdir", type=PATH, help="Keep the run here.")
@click.option("--out", default="transfer", show_default=True, help="Name of the results.")
def main(faces: Path, age: str, count: int, kimg: float, outdir: Path | None, out: str) -> None:
    """Write results/OUT.json and results/OUT.jpg."""
    with TemporaryDirectory() as scratch:
        run = outdir or Path(scratch) / "run"
        learnt, others = (Path(scratch) / f"{name}.zip" for name in ("learnt", "others"))
        names = names_of(faces / "labels.csv", age)
        copy_members(faces / "fairface-128.zip", names[:count], learnt)
        copy_members(faces / "fairface-128.zip", names[count:], others)
        before = load(DEFAULT_NETWORK)
        options = [part for name, value in OPTIONS.items() for part in (f"--{name}", str(value))]
        started, processor = time.perf_counter(), time.process_time()
        where = ["--data", str(learnt), "--resume", DEFAULT_NETWORK, "--outdir", str(run), "--kimg", str(kimg)]
        train_command.main([*where, "--no-video", "--device", "cpu", *options], standalone_mode=False)
        seconds, processor = time.perf_counter() - started, time.process_time() - processor
        after = load(sorted(run.glob("network-*.safetensors"))[-1])
        kept_back = Validation(ImageDataset(others, before.resolution).load(), torch.device("cpu"), samples=SAMPLES)
        result = {
            "machine": describe(),
            "age": age,
            "faces": min(count, len(names)),
            "kimg": kimg,
            "options": OPTIONS,
            "seconds": round(seconds),
            "processor_seconds": round(processor),
            "distance_before": round(kept_back.distance(before), 3),
            "distance_after": round(kept_back.distance(after), 3),
        }
    write_bytes(FOLDER / f"{out}.json", (json.dumps(result, indent=2) + "\n").encode())
    with atomic_file(FOLDER / f"{out}.jpg") as temporary:
        Image.fromarray(sheet(before, after)).save(temporary, quality=85)
    click.echo(json.dumps(result, indent=2))


def names_of(labels: Path, age: str) -> list[str]:
    """Training faces of an age, in the order of labels.csv."""
    with labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["file"] for row in rows if row["age"] == age and row["file"].startswith("train/")]


def copy_members(source: Path, names: list[str], target: Path) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in names:
            new.writestr(name, old.read(name))


def sheet(before: Generator, after: Generator) -> np.ndarray:
    """Samples of the same z by both networks, uint8 [2 ROWS * R, COLUMNS * R, 3]."""
    images = torch.cat([draw_samples(one, COLUMNS * ROWS, PSI) for one in (before, after)])
    return grid(images, COLUMNS)


if __name__ == "__main__":
    main()
