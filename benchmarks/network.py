"""Frechet and kernel distance of generated faces from held-out real ones, and the floor of real faces.

    python -m benchmarks.network --faces fairface-128.zip --backbone squeezenet11-imagenet.safetensors NETWORK ...

5,000 generated faces against the 500 validation faces, in the last features of an ImageNet backbone, averaged
over space: Frechet and kernel distance. The floor is 5,000 training faces against the same 500.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import click
from torch import Tensor
from tqdm import tqdm

from benchmarks.machine import describe
from relatent.core.files import write_bytes
from relatent.core.images import encode_png, from_uint8, grid
from stylegan import load, network_id
from stylegan.networks.backbone import Backbone, load_backbone
from stylegan.networks.generator import Generator
from stylegan.training.dataset import ImageDataset
from stylegan.training.metrics import frechet_distance, kernel_distance, mean_pairwise_distance
from stylegan.training.validation import deep_features, draw_samples

FOLDER = Path(__file__).parent / "results"
COUNT = 5000
SHEET = 96


@click.command()
@click.argument("networks", nargs=-1, required=True)
@click.option("--faces", required=True, type=click.Path(path_type=Path, exists=True), help="Zip with train/ and val/.")
@click.option("--backbone", required=True, type=click.Path(path_type=Path, exists=True), help="ImageNet backbone.")
@click.option("--out", default=None, help="Write results/OUT.json and sample sheets; else only print.")
def main(networks: tuple[str, ...], faces: Path, backbone: Path, out: str | None) -> None:
    """Print each network's distances beside the floor."""
    eye = load_backbone(backbone)
    size = load(networks[0]).resolution
    validation = features(eye, real_faces(faces, size, "val"))
    training = features(eye, real_faces(faces, size, "train")[:COUNT])
    rows = {"floor (training faces)": distances(training, validation)}
    for name in networks:
        generator = load(name)
        images = fakes(generator)
        rows[network_id(generator)] = {
            **distances(features(eye, images), validation),
            "pairwise": round(mean_pairwise_distance(images[:500]), 4),
        }
    for name, row in rows.items():
        click.echo(f"{name}: {row}")
    if out:
        result = {"resolution": size, "generated": COUNT, "validation": len(validation), "networks": rows}
        write_bytes(FOLDER / f"{out}.json", (json.dumps({**result, "machine": describe()}, indent=2) + "\n").encode())
        for psi in (0.7, 1.0):
            picture = encode_png(grid(fakes(generator, SHEET, psi), 12))
            write_bytes(FOLDER / f"{out}-psi{psi}.png", picture)


def distances(ours: Tensor, theirs: Tensor) -> dict[str, float]:
    """Frechet and kernel distance of two sets of features."""
    return {"frechet": round(frechet_distance(ours, theirs), 4), "kernel": round(kernel_distance(ours, theirs), 6)}


def real_faces(faces: Path, size: int, folder: str) -> Tensor:
    """Pictures of a folder of the zip, float32 [N, 3, R, R]."""
    return from_uint8(ImageDataset(faces, size, folder).load())


def fakes(generator: Generator, count: int = COUNT, psi: float = 1.0) -> Tensor:
    """Uncurated faces, float32 [count, 3, R, R], clamped."""
    return draw_samples(generator, count, psi, bar=partial(tqdm, desc="drawing", leave=False))


def features(eye: Backbone, images: Tensor) -> Tensor:
    """The backbone's last layer averaged over space, [N, 512]."""
    return deep_features(eye, images, bar=partial(tqdm, desc="features", leave=False))


if __name__ == "__main__":
    main()
