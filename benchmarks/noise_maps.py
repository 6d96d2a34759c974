"""Noise maps as the paper regularises them, and as the published projectors do: the preset `paper` both ways.

    python -m benchmarks.noise_maps --faces fairface-128.zip

Karras et al. 2020, appendix D, doubles a map whenever it is halved; the projectors that NVIDIA published do not. Rows
are kept as in benchmarks.quality, so a run that is cut goes on where it was.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import torch

from benchmarks.machine import describe
from benchmarks.quality import FOLDER, SHOWN, Rows, Run
from benchmarks.quality_table import summaries, table
from inversion.losses.loss import noise_regularisation
from inversion.losses.perceptual import load_perceptual
from inversion.optim import optimisation
from inversion.pipeline import open_network
from inversion.presets import PAPER, Plan
from relatent.core.files import write_bytes
from relatent.core.images import encode_png, grid
from stylegan import network_id
from stylegan.training.data.dataset import ImageDataset
from weights.embedded import DEFAULT_NETWORK

GAINS = {"doubled, as the paper says": 2.0, "as published projectors do": 1.0}


@click.command()
@click.option("--faces", required=True, type=click.Path(path_type=Path, exists=True), help="Zip file with val/.")
@click.option("--count", default=50, show_default=True, help="Validation faces.")
@click.option("--num-steps", default=1000, show_default=True, type=click.IntRange(min=1))
@click.option("--network", default=DEFAULT_NETWORK, show_default=True)
@click.option("--batch", default=16, show_default=True, help="Photos optimised together.")
@click.option("--out", default="noise-maps", show_default=True, help="Name of the result.")
@click.option("--folder", default=FOLDER, type=click.Path(path_type=Path), help="Where results go.")
def main(faces: Path, count: int, num_steps: int, network: str, batch: int, out: str, folder: Path) -> None:
    """Measure both and write OUT.json, OUT.md and OUT.png."""
    generator = open_network(network)
    keys = ImageDataset(faces, generator.resolution, "val").names[:count]
    shown = keys[:SHOWN]
    plan = Plan(optimiser=dataclasses.replace(PAPER, num_steps=num_steps))
    each: dict[str, Rows] = {}
    runs: dict[str, Run] = {}
    for known in range(batch, len(keys) + batch, batch):  # both on the same faces, whenever the run is cut
        for name, gain in GAINS.items():
            runs[name] = Run(
                generator, faces, keys[:known], shown, folder / f"{out}.parts" / f"gain-{gain:g}", "none", 0
            )
            with halved_by(gain):
                each[name] = runs[name].measure({"paper": plan}, batch)["paper"]
    sheets = [run.sheet(["paper"]) for run in runs.values()]
    rows = summaries(each)
    for row in rows.values():
        row["settings"] = dataclasses.asdict(plan)
    backbone = load_perceptual().backbone
    about = {"network": network_id(generator), "photos": len(keys), "batch": batch, "num_steps": num_steps}
    result = {**about, "lpips_trunk": backbone, "machine": describe(), "methods": rows, "each": each}
    write_bytes(folder / f"{out}.json", (json.dumps(result, indent=1) + "\n").encode())
    write_bytes(folder / f"{out}.md", table(rows, backbone).encode())
    pictures = torch.cat([sheets[0], sheets[1][len(shown) :]])  # both begin with the photos
    write_bytes(folder / f"{out}.png", encode_png(grid(pictures, len(shown))))
    click.echo(table(rows, backbone))


@contextmanager
def halved_by(gain: float) -> Iterator[None]:
    """Optimisations in which halved noise maps are multiplied by ``gain``."""
    before = optimisation.noise_regularisation
    optimisation.noise_regularisation = functools.partial(noise_regularisation, gain=gain)
    try:
        yield
    finally:
        optimisation.noise_regularisation = before


if __name__ == "__main__":
    main()
