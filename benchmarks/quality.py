"""How close inversions come, and in what time: methods side by side on the same photos.

    python -m benchmarks.quality --faces fairface-128.zip --count 50

Photos are the first COUNT of the zip's folder val/, which no network was trained on, and the astronaut.
Every method runs on the same photos, network and machine, in one process; medians are quoted.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from pathlib import Path

import click
import torch
from tqdm import tqdm

from benchmarks.machine import describe
from core.files import write_bytes
from core.images import encode_png, grid, read_photo, to_tensor
from inversion.inverter import crop_faces, open_network
from inversion.loss import Target
from inversion.low_rank import draw
from inversion.measures import measure
from inversion.optimiser import split
from inversion.perceptual import load_perceptual
from inversion.project import demo_photo
from inversion.settings import BALANCED, ENCODER_ROUNDS, PAPER, TUNING, Plan
from inversion.stages import carry_out, encoder_for
from stylegan.dataset import ImageDataset
from stylegan.generator import Generator
from weights.embedded import DEFAULT_NETWORK

FOLDER = Path(__file__).parent / "results"
COUNT_OF_STEPS = BALANCED.num_steps
COLUMNS = ("lpips", "psnr", "ms_ssim", "identity_distance", "seconds")
SEED = 303


@click.command()
@click.option("--faces", required=True, type=click.Path(path_type=Path, exists=True), help="Zip file with val/.")
@click.option("--count", default=50, show_default=True, help="Validation faces.")
@click.option("--network", default=DEFAULT_NETWORK, show_default=True)
@click.option("--batch", default=17, show_default=True, help="Photos optimised together.")
@click.option("--num-steps", default=COUNT_OF_STEPS, show_default=True, help="Of every method; the paper takes 1000.")
@click.option("--out", default="w-against-wplus", show_default=True, help="Name of the result.")
def main(faces: Path, count: int, network: str, batch: int, num_steps: int, out: str) -> None:
    """Measure every method and write results/OUT.json, OUT.md and OUT.png."""
    generator = open_network(network)
    images = photos(faces, count, generator)
    rows, drawn = {}, {}
    for name, plan in methods(num_steps).items():
        rows[name], drawn[name] = run(name, plan, generator, images, batch)
    result = {"network": generator.name, "photos": len(images), "batch": batch, "machine": describe(), "methods": rows}
    write_bytes(FOLDER / f"{out}.json", (json.dumps(result, indent=2) + "\n").encode())
    write_bytes(FOLDER / f"{out}.md", table(rows).encode())
    shown = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, len(images) - 1]
    rows_of_faces = torch.cat([images[shown], *(drawn[name][shown] for name in drawn)])
    write_bytes(FOLDER / f"{out}.png", encode_png(grid(rows_of_faces, len(shown))))
    click.echo(table(rows))


def methods(num_steps: int) -> dict[str, Plan]:
    """What is compared: the first two differ in nothing but the space; the others are what users get."""
    paper = dataclasses.replace(PAPER, num_steps=num_steps)
    balanced = dataclasses.replace(BALANCED, num_steps=num_steps)
    return {
        "paper (W)": Plan(optimiser=paper),
        "paper in W+": Plan(optimiser=dataclasses.replace(paper, space="w+")),
        "balanced (W+)": Plan(encoder_rounds=ENCODER_ROUNDS, optimiser=balanced),
        "best (W+, tuned)": Plan(encoder_rounds=ENCODER_ROUNDS, optimiser=balanced, tuning=TUNING),
    }


def photos(faces: Path, count: int, generator: Generator) -> torch.Tensor:
    """Aligned faces at the network's size, float32 [count + 1, 3, R, R]; the astronaut last."""
    dataset = ImageDataset(faces, generator.resolution, "val")
    images = [to_tensor(dataset.picture(index)) for index in range(count)]
    astronaut = crop_faces(read_photo(demo_photo()), generator, align=True)[0]
    return torch.cat([*images, to_tensor(astronaut.image)])


def run(
    name: str, plan: Plan, generator: Generator, images: torch.Tensor, batch: int
) -> tuple[dict[str, object], torch.Tensor]:
    """Invert all photos one way; the medians with the settings, and the drawn pictures."""
    perceptual = load_perceptual()
    encoder = encoder_for(generator, plan, None)
    measures: list[dict[str, float | None]] = []
    pictures = []
    with tqdm(total=len(images), desc=name) as bar:
        for chunk in images.split(batch):
            found = carry_out(plan, generator, encoder, Target(chunk, perceptual), seed=SEED)
            seconds = sum(found.seconds.values()) / len(chunk)
            tuned = found.tuned or [None] * len(chunk)
            parts = zip(chunk.split(1), split(found.latents, generator.num_ws), tuned, strict=True)
            for photo, (ws, noise), own in parts:
                with torch.no_grad():
                    picture = draw(generator, ws, noise, own)
                quality = dataclasses.asdict(measure(picture, photo, perceptual, generator.alignment))
                quality.pop("lpips_trunk")
                measures.append({**quality, "seconds": seconds})
                pictures.append(picture)
            bar.update(len(chunk))
    medians = {column: _median([row[column] for row in measures]) for column in COLUMNS}
    known = [row["identity_distance"] for row in measures if row["identity_distance"] is not None]
    same = sum(distance < 0.6 for distance in known)
    row = {**medians, "same_person": f"{same} of {len(known)}", "lpips_trunk": perceptual.trunk}
    return {**row, "settings": dataclasses.asdict(plan), "each": measures}, torch.cat(pictures)


def table(rows: dict[str, dict[str, object]]) -> str:
    """The medians as Markdown."""
    trunk = next(iter(rows.values()))["lpips_trunk"]
    lines = [
        f"| method | steps | LPIPS ({trunk}) | PSNR dB | MS-SSIM | identity distance | below 0.6 | seconds a photo |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        stages = [row["settings"][stage] for stage in ("optimiser", "tuning")]  # type: ignore[index]
        steps = " + ".join(str(stage["num_steps"]) for stage in stages if stage)
        lines.append(
            f"| {name} | {steps} | {row['lpips']:.4f} | {row['psnr']:.2f} | {row['ms_ssim']:.4f} | "
            f"{row['identity_distance']:.3f} | {row['same_person']} | {row['seconds']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def _median(values: list[float | None]) -> float:
    return round(statistics.median(value for value in values if value is not None), 5)


if __name__ == "__main__":
    main()
