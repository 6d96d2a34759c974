"""How long a training step takes, against the same step in its published form, in one process.

    python -m benchmarks.training --rounds 7

Both trainers have the sizes, batch and rules of the embedded network's training, but for augmentation; pictures are
random, as their content is of no account to time. Rounds alternate, so that a slow moment of the machine meets both;
the ratio of medians is what counts. A round is 16 steps, one of them with R1.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from pathlib import Path

import click
import torch

from benchmarks.machine import describe
from benchmarks.published import PublishedTrainer
from relatent.core.device import pick_device, synchronize
from relatent.core.errors import UsageError
from relatent.core.files import write_bytes
from stylegan import load
from stylegan.networks.discriminator import DiscriminatorConfig
from stylegan.networks.generator import GeneratorConfig
from stylegan.training.loss import GanLossWeights, usual_r1_gamma
from stylegan.training.settings import TrainingSettings
from stylegan.training.trainer import Trainer
from weights.embedded import DEFAULT_NETWORK

FOLDER = Path(__file__).parent / "results"
BATCH = 16  # the embedded network's


@click.command()
@click.option("--rounds", default=7, show_default=True, help="Timed rounds of each form, after one to warm up.")
@click.option("--network", default=DEFAULT_NETWORK, show_default=True, help="Whose sizes to take.")
@click.option("--compile/--no-compile", default=False, help="Hand our networks to torch.compile.")
@click.option("--device", default=None)
@click.option("--out", default="training", show_default=True, help="Name of the result.")
def main(rounds: int, network: str, compile: bool, device: str | None, out: str) -> None:
    """Measure and write results/OUT.json."""
    where = pick_device(device)
    settings = settings_like(network)
    seconds = measure(
        forms(settings, compile, where), settings.loss_weights.r1_interval * settings.batch, rounds, where
    )
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    published = medians["published"]
    rows = {
        name: {
            "seconds_per_kimg": round(medians[name], 3),
            "fastest": round(min(values), 3),
            "slowest": round(max(values), 3),
            "times_as_fast": round(published / medians[name], 2),
        }
        for name, values in seconds.items()
    }
    for name, row in rows.items():
        click.echo(f"{name}: {row}")
    sizes = {"generator": settings.generator, "discriminator": settings.discriminator}
    result = {
        "batch": settings.batch,
        **{name: dataclasses.asdict(size) for name, size in sizes.items()},
        "forms": rows,
        "machine": describe(),
    }
    write_bytes(FOLDER / f"{out}.json", (json.dumps(result, indent=2) + "\n").encode())


def settings_like(network: str) -> TrainingSettings:
    """A training of networks of this one's sizes, with the published losses and without augmentation."""
    sizes = load(network).config
    if not isinstance(sizes, GeneratorConfig):
        raise UsageError(f"{network} is a StyleGAN3 network, which is not trained here. Name a StyleGAN2 network.")
    shared = ("resolution", "c_dim", "channel_base", "channel_max", "img_channels", "conv_clamp")
    return TrainingSettings(
        data="",
        data_folder=None,
        name="",
        generator=sizes,
        discriminator=DiscriminatorConfig(**{name: getattr(sizes, name) for name in shared}),
        loss_weights=GanLossWeights(r1_gamma=usual_r1_gamma(sizes.resolution, BATCH)),
        batch=BATCH,
        augment_strength=0.0,
    )


def forms(settings: TrainingSettings, compile: bool, device: torch.device) -> dict[str, Trainer]:
    """The published form in float32; ours in float32, and in bfloat16 as the network was trained."""
    side = settings.generator.resolution
    images = torch.randint(0, 256, (64 * settings.batch, 3, side, side), dtype=torch.uint8)

    def ours(precision: str) -> Trainer:
        return Trainer(dataclasses.replace(settings, precision=precision, compile=compile), images, None, device)

    published = dataclasses.replace(settings, precision="float32", compile=False)
    return {
        "published": PublishedTrainer(published, images, None, device),
        "ours, float32": ours("float32"),
        "ours, bfloat16": ours("bfloat16"),
    }


def measure(trainers: dict[str, Trainer], images: int, rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds per thousand pictures of each trainer, round by round; the first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for number in range(rounds + 1):
        for name, trainer in trainers.items():
            synchronize(device)
            started = time.perf_counter()
            trainer.run_tick(images)
            synchronize(device)
            if number:
                seconds[name].append((time.perf_counter() - started) / images * 1000)
    return seconds


if __name__ == "__main__":
    main()
