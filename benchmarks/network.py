"""Generated faces against held-out real ones, beside the floor: training faces against the same held-out ones.

    python -m benchmarks.network --faces fairface-128.zip --backbone squeezenet11-imagenet.safetensors NETWORK ...

5,000 generated faces against the 500 validation faces, in the last features of an ImageNet backbone, averaged
over space: Frechet and kernel distance. The first 1,000 also by dlib, which was not trained on them: Frechet distance
of face embeddings, and the share in which a face is detected. Power by octave is relative to the training faces, finest
octave first. Networks of other sizes than ``--resolution`` are resampled to it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
from torch import Tensor
from tqdm import tqdm

from benchmarks.contact_sheet import as_jpeg
from benchmarks.machine import describe
from benchmarks.network_measures import at_size, face_embeddings, octave_power, share_with_face
from relatent.core.alignment import Alignment
from relatent.core.files import write_bytes
from relatent.core.images import from_uint8, grid
from stylegan import load, network_id
from stylegan.networks.backbone import Backbone, load_backbone
from stylegan.networks.generator import Generator
from stylegan.training.data.dataset import ImageDataset
from stylegan.training.metrics import frechet_distance, kernel_distance, mean_pairwise_distance
from stylegan.training.validation import deep_features, draw_samples

FOLDER = Path(__file__).parent / "results"
COUNT = 5000
SHEET = 96
JUDGED_BY_DLIB = 1000


@click.command()
@click.argument("networks", nargs=-1, required=True)
@click.option("--faces", required=True, type=click.Path(path_type=Path, exists=True), help="Zip with train/ and val/.")
@click.option("--backbone", required=True, type=click.Path(path_type=Path, exists=True), help="ImageNet backbone.")
@click.option("--resolution", type=int, default=None, help="Compare at this size; the first network's unless given.")
@click.option("--count", default=COUNT, show_default=True, help="Generated faces per network.")
@click.option("--out", default=None, help="Write results/OUT.json, and sheets of the first network; else only print.")
def main(
    networks: tuple[str, ...], faces: Path, backbone: Path, resolution: int | None, count: int, out: str | None
) -> None:
    """Print each network's measures beside the floor."""
    eye = load_backbone(backbone)
    first = load(networks[0])
    size, alignment = resolution or first.resolution, first.alignment
    validation, training = real_faces(faces, size, "val"), real_faces(faces, size, "train")[:count]
    reference = Reference(features(eye, validation), face_embeddings(validation, alignment), octave_power(training))
    rows = {"floor (training faces)": measures(training, alignment, eye, reference)}
    rows["floor (training faces)"]["validation faces detected"] = share_with_face(validation)
    for name in networks:
        generator = load(name)
        images = at_size(fakes(generator, count), size)
        row = measures(images, alignment, eye, reference)
        rows[network_id(generator)] = {**row, "pairwise": round(mean_pairwise_distance(images[:500]), 4)}
        click.echo(f"{name}: {rows[network_id(generator)]}")
    click.echo(f"floor: {rows['floor (training faces)']}")
    if out:
        result = {"resolution": size, "generated": count, "validation": len(validation), "networks": rows}
        write_bytes(FOLDER / f"{out}.json", (json.dumps({**result, "machine": describe()}, indent=2) + "\n").encode())
        for psi in (0.7, 1.0):
            write_bytes(FOLDER / f"{out}-psi{psi}.jpg", as_jpeg(grid(fakes(first, SHEET, psi), 12)))


@dataclass(frozen=True)
class Reference:
    """What real faces are: backbone features and embeddings of the validation faces, power of the training faces."""

    features: Tensor
    embeddings: Tensor
    power: Tensor


def measures(images: Tensor, alignment: Alignment, eye: Backbone, reference: Reference) -> dict[str, Any]:
    """All measures of one set of pictures [N, 3, R, R]."""
    few = images[:JUDGED_BY_DLIB]
    return {
        **distances(features(eye, images), reference.features),
        "embeddings": round(frechet_distance(face_embeddings(few, alignment), reference.embeddings), 4),
        "detected": share_with_face(few),
        "power": [round(float(ratio), 3) for ratio in octave_power(images) / reference.power],
    }


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
