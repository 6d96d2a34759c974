"""How long training and inversion steps take on a device: python -m training.times --device cuda --out times.json

Written after each figure, so that a run that is stopped leaves what it has; the most telling figures come first.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import torch

from benchmarks.machine import describe
from benchmarks.steps import ours, photos_of, published
from inversion.pipeline import open_network
from relatent.core.command import PATH, RelatentCommand
from relatent.core.device import pick_device, synchronize
from relatent.core.files import write_bytes
from stylegan import DiscriminatorConfig, Generator, GeneratorConfig
from stylegan.training.loss import GanLossWeights
from stylegan.training.settings import TrainingSettings
from stylegan.training.trainer import Trainer

STEPS = 16  # timed at once, one of them with R1
ROUNDS = 3

Measure = Callable[[], float]


@click.command(cls=RelatentCommand)
@click.option("--device", default=None)
@click.option("--out", required=True, type=PATH)
@click.option("--tiny", is_flag=True, help="Sizes of no use but to see that it runs.")
def main(device: str | None, out: Path, tiny: bool) -> None:
    """Time steps on DEVICE and write them to OUT."""
    where = pick_device(device)
    result: dict[str, object] = {"machine": describe()}
    for name, measure in (*training(where, tiny), *inversion(where, tiny)):
        try:
            result[name] = round(measure(), 6)
        except (RuntimeError, ValueError) as error:  # torch's own failures, out of memory among them, cost one figure
            result[name] = f"{type(error).__name__}: {error!s:.300}"
        if where.type == "cuda":
            result[f"{name}, peak MiB"] = round(torch.cuda.max_memory_allocated(where) / 2**20)
            torch.cuda.reset_peak_memory_stats(where)
            torch.cuda.empty_cache()
        click.echo(f"{name}: {result[name]}")
        write_bytes(out, (json.dumps(result, indent=2) + "\n").encode())


def training(device: torch.device, tiny: bool) -> Iterator[tuple[str, Measure]]:
    """Seconds for a thousand pictures of the 128 px network's training."""
    sizes = {"resolution": 16 if tiny else 128, "channel_base": 64 if tiny else 4096, "channel_max": 128}
    settings = TrainingSettings(
        data="",
        data_folder=None,
        name="",
        generator=GeneratorConfig(z_dim=256, w_dim=256, mapping_layers=2, conv_clamp=None, **sizes),
        discriminator=DiscriminatorConfig(conv_clamp=None, **sizes),
        loss_weights=GanLossWeights(r1_gamma=0.05, r1_interval=STEPS),
    )
    side = sizes["resolution"]

    def seconds(batch: int, precision: str, compile: bool) -> float:
        images = torch.randint(0, 256, (4 * batch, 3, side, side), dtype=torch.uint8)
        changed = dataclasses.replace(settings, batch=batch, precision=precision, compile=compile)
        trainer = Trainer(changed, images, None, device)
        count = 2 if tiny else STEPS
        fastest = min(trainer.run_tick(count * batch).seconds_per_kimg for _ in range(2 if tiny else ROUNDS))
        return fastest  # the first round warms up and is never the fastest

    batches = (4,) if tiny else (64, 16)
    for batch in batches:
        for precision in ("bfloat16", "float32"):
            yield (
                f"training, batch {batch}, {precision}, seconds per 1,000 pictures",
                lambda batch=batch, precision=precision: seconds(batch, precision, False),  # type: ignore[misc]
            )
    if not tiny:
        yield (
            "training, batch 64, bfloat16, compiled, seconds per 1,000 pictures",
            lambda: seconds(64, "bfloat16", True),
        )


def inversion(device: torch.device, tiny: bool) -> Iterator[tuple[str, Measure]]:
    """Seconds for a step of the paper's projector with random networks of the published width."""
    for size in (16,) if tiny else (256, 1024):
        base = 64 if tiny else {256: 16384}.get(size, 32768)
        torch.manual_seed(0)
        config = GeneratorConfig(resolution=size, channel_base=base, channel_max=512, conv_clamp=None)
        network = open_network(Generator(config, name=f"random-{size}"), str(device))
        for batch in (1,) if tiny else (1, 4):
            photos = photos_of(size, batch, device)
            for precision in ("bfloat16", "float32"):
                yield (
                    f"inversion, {size} px, batch {batch}, {precision}, seconds a step",
                    lambda p=photos, precision=precision, n=network: step(  # type: ignore[misc]
                        ours(n, p, precision=precision), device, tiny
                    ),
                )
        yield (
            f"inversion, {size} px, published form, seconds a step",
            lambda n=network, s=size: step(published(n, photos_of(s, 1, device)), device, tiny),  # type: ignore[misc]
        )


def step(form: Callable[[int], object], device: torch.device, tiny: bool) -> float:
    """Seconds of one step, from some together, after some to warm up."""
    count = 1 if tiny else 20
    form(1 if tiny else 5)
    synchronize(device)
    started = time.perf_counter()
    form(count)
    synchronize(device)
    return (time.perf_counter() - started) / count


if __name__ == "__main__":
    main()
