"""Transfer to a few pictures: python -m benchmarks.transfer FACES [--age 3-9 --count 100 --kimg 8 --outdir RUN]

FACES is a folder with fairface-128.zip and labels.csv. The run begins with the training state of the network that
ships, whose discriminator has learned faces already, and goes on with COUNT faces of one age; a RUN that has begun is
gone on with. The grid shows samples of the same latents by the network that ships (upper half) and after the run (lower
half). Both are measured by their distance to the other faces of that age, which the run has not seen.
"""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
import torch
from PIL import Image
from safetensors import safe_open

from benchmarks.machine import describe
from relatent.core.command import PATH, RelatentCommand
from relatent.core.files import atomic_file, write_bytes
from relatent.core.images import grid
from stylegan import Generator, load
from stylegan.__main__ import OWN_STATE, train_command
from stylegan.training.data.dataset import ImageDataset
from stylegan.training.report.diagnosis import Log
from stylegan.training.report.page import LOG_FILE
from stylegan.training.run import STATE_FILE
from stylegan.training.state import images_seen
from stylegan.training.validation import Validation, draw_samples
from weights.embedded import DEFAULT_NETWORK

FOLDER = Path(__file__).parent / "results"
COLUMNS, ROWS = 12, 4  # of each half of the grid
PSI = 0.8
SAMPLES = 1000  # for the distance
STATE = Path(__file__).parents[1] / "training" / "faces-128.safetensors"
OPTIONS = {"lr": 0.0015, "augment": 0.4, "ema-kimg": 1, "freeze-d": 3, "tick": 0.5, "snap": 4}


@click.command(cls=RelatentCommand)
@click.argument("faces", type=PATH)
@click.option("--age", default="3-9", show_default=True, help="As labels.csv names it.")
@click.option("--count", default=100, show_default=True, help="Faces to train on.")
@click.option("--kimg", default=8.0, show_default=True, help="Thousands of images, beside those of the state.")
@click.option("--outdir", type=PATH, help="Keep the run here.")
@click.option("--out", default="transfer", show_default=True, help="Name of the results.")
def main(faces: Path, age: str, count: int, kimg: float, outdir: Path | None, out: str) -> None:
    """Write results/OUT.json and results/OUT.jpg."""
    before = load(DEFAULT_NETWORK)
    start = images_seen(STATE)
    with TemporaryDirectory() as scratch:
        run = outdir or Path(scratch) / "run"
        learnt, others = (Path(scratch) / f"{name}.zip" for name in ("learnt", "others"))
        names = names_of(faces / "labels.csv", age)
        copy_members(faces / "fairface-128.zip", names[:count], learnt)
        copy_members(faces / "fairface-128.zip", names[count:], others)
        options = [part for name, value in OPTIONS.items() for part in (f"--{name}", str(value))]
        resume = OWN_STATE if (run / STATE_FILE).is_file() else STATE
        where = ["--data", str(learnt), "--resume", str(resume), "--outdir", str(run)]
        until = ["--kimg", str(start / 1000 + kimg), "--no-video", "--device", "cpu"]
        train_command.main([*where, *until, *options], standalone_mode=False)
        after = load(sorted(run.glob("network-*.safetensors"))[-1])
        kept_back = Validation(ImageDataset(others, before.resolution).load(), torch.device("cpu"), samples=SAMPLES)
        last = Log.read(run / LOG_FILE).lines[-1]
        result = {
            "machine": describe(),
            "age": age,
            "faces": min(count, len(names)),
            "thousand images before": start / 1000,
            "thousand images": round(last["kimg"] - start / 1000, 3),
            "minutes": round((last["seconds"] - seconds_of(STATE)) / 60, 1),
            "options": OPTIONS,
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


def seconds_of(state: Path) -> float:
    """How long the training took whose state that is."""
    with safe_open(state, framework="numpy") as opened:
        return float(opened.metadata()["seconds"])


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
