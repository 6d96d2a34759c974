"""Compares the blends that paste an edited face into its photo.

    python -m benchmarks.pasting --faces fairface-128.zip --count 20

Photos are the first COUNT of the zip's folder val/, faces of 128 px, and the astronaut. The edit is a step along the
second principal axis of w, one standard deviation to either side: as good as any for comparing blends, and needs no
learned direction. Nothing here is minimised by anything.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import click
import cv2
import numpy as np
import torch
from tqdm import tqdm

from benchmarks.machine import describe
from benchmarks.quality import FOLDER
from editing import Direction, edit, paste_back
from editing.pasting import BLENDS
from inversion import Inversion, invert_images
from inversion.pipeline import open_network
from inversion.project import demo_photo
from relatent.core.files import write_bytes
from relatent.core.images import read_photo, to_levels, to_tensor
from relatent.face import align_face, centre_square, find_faces, identity_distance
from relatent.face.align import AlignedFace
from relatent.face.padding import outside_distance
from relatent.face.sampling import sample_square
from stylegan.formats.checkpoint import network_id
from stylegan.networks.generator import Generator
from stylegan.training.dataset import ImageDataset
from weights.embedded import DEFAULT_NETWORK

PHOTO_SIDE = 128
SAMPLES = 2000
STRENGTHS = (-1.0, 1.0)
COLUMNS = ("identity_distance", "detail", "change_shown", "change_elsewhere")


@click.command()
@click.option("--faces", required=True, type=click.Path(path_type=Path, exists=True), help="Zip file with val/.")
@click.option("--count", default=20, show_default=True, help="Validation faces.")
@click.option("--network", default=DEFAULT_NETWORK, show_default=True)
@click.option(
    "--num-steps", default=None, type=click.IntRange(min=1), help="Of each inversion.  [default: the preset's own]"
)
@click.option("--out", default="pasting", show_default=True, help="Name of the result.")
def main(faces: Path, count: int, network: str, num_steps: int | None, out: str) -> None:
    """Measure every blend and write results/OUT.json and OUT.md."""
    generator = open_network(network)
    cases = photos(faces, count, generator)
    images = torch.cat([to_tensor(aligned.image) for _, aligned in cases])
    inversions = [one for chunk in images.split(8) for one in invert_images(chunk, generator, num_steps=num_steps)]
    axis = second_axis(generator)
    each: dict[str, list[dict[str, float]]] = {blend: [] for blend in BLENDS}
    for (photo, aligned), inversion in tqdm(list(zip(cases, inversions, strict=True)), desc="blends"):
        for strength in STRENGTHS:
            edited = edit(inversion.replace(face_to_photo=aligned.face_to_photo), axis=strength, directions=[axis])
            for blend in BLENDS:
                pasted = np.asarray(paste_back(edited, photo, blend=blend, network=generator))
                each[blend].append(judge(photo, pasted, aligned, edited, generator))
    medians = {
        blend: {column: round(statistics.median(row[column] for row in rows), 4) for column in COLUMNS}
        for blend, rows in each.items()
    }
    result = {"network": network_id(generator), "photos": len(cases), "num_steps": num_steps, "machine": describe()}
    write_bytes(
        FOLDER / f"{out}.json", (json.dumps({**result, "medians": medians, "each": each}, indent=2) + "\n").encode()
    )
    write_bytes(FOLDER / f"{out}.md", table(medians).encode())
    click.echo(table(medians))


def photos(faces: Path, count: int, generator: Generator) -> list[tuple[np.ndarray, AlignedFace]]:
    """Photos, uint8 [H, W, 3], each with its aligned face; the astronaut last."""
    dataset = ImageDataset(faces, PHOTO_SIDE, "val")
    cases = [(photo, centre_square(photo, generator.resolution)) for photo in map(dataset.picture, range(count))]
    astronaut = read_photo(demo_photo()).pixels
    found = find_faces(astronaut)[0]
    return [*cases, (astronaut, align_face(astronaut, found.landmarks, generator.alignment, generator.resolution))]


@torch.no_grad()
def second_axis(generator: Generator) -> Direction:
    """The second principal axis of w, one standard deviation long."""
    w = generator.sample_w(SAMPLES, seed=0).cpu()
    _, deviations, axes = torch.linalg.svd(w - w.mean(dim=0), full_matrices=False)
    return Direction(axes[1] * deviations[1] / (SAMPLES - 1) ** 0.5, "axis", network_id(generator))


def judge(
    photo: np.ndarray, pasted: np.ndarray, aligned: AlignedFace, edited: Inversion, generator: Generator
) -> dict[str, float]:
    """Measures of one blend of one edit.

    Returns:
        identity_distance between photo and result; detail, the photo's finest detail in the face that is left (1 is
        all); change_shown, the part of the drawn change that the result has (1 is all); change_elsewhere, what
        changed beside that, in levels of 255.
    """
    size = generator.resolution
    after, before = (to_levels(one.tensor(generator))[0].numpy() for one in (edited, edited.unedited()))
    inside = slice(size // 6, -(size // 6))
    wanted = (after - before)[inside, inside]
    crops = [sample_square(one, aligned.face_to_photo, size).astype(float) for one in (pasted, photo)]
    came = (crops[0] - crops[1])[inside, inside]
    shown = float((came * wanted).sum() / (wanted * wanted).sum())
    scale = float(np.hypot(*aligned.face_to_photo[:2, 0]))  # photo pixels a face pixel
    depth = -outside_distance(np.linalg.inv(aligned.face_to_photo), max(photo.shape[:2]), (size, size))
    there = depth[: photo.shape[0], : photo.shape[1]] > scale * size / 6
    fine = [np.abs(cv2.Laplacian(one.astype(np.float32), cv2.CV_32F)) for one in (pasted, photo)]
    distance = identity_distance(photo, pasted, alignment=generator.alignment)
    return {
        "identity_distance": float(distance or 0.0),
        "detail": float(fine[0][there].mean() / fine[1][there].mean()),
        "change_shown": shown,
        "change_elsewhere": float(np.sqrt(((came - shown * wanted) ** 2).mean())),
    }


def table(medians: dict[str, dict[str, float]]) -> str:
    """The medians as Markdown."""
    lines = [
        "| blend | identity distance | detail kept | change shown | other change (of 255) |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| `{blend}` | {row['identity_distance']:.3f} | {row['detail']:.2f} | {row['change_shown']:.2f} | "
        f"{row['change_elsewhere']:.1f} |"
        for blend, row in medians.items()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
