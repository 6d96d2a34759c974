"""One step of the projector: as published projectors write it, and as Relatent does, on the same network and photos.

    python -m benchmarks.speed --sizes 64 --sizes 128

The published step optimises one w and the noise maps of one photo at a time: grouped per-sample convolution, float32,
NCHW; LPIPS on the same trunk; the noise's autocorrelation at all sizes, level by level; the loss read every step. Ours
is :func:`inversion.optimiser.optimise` with the paper's settings, on one photo and on several together. 64 px is the
embedded network; larger ones have random weights, of which time does not depend. Rounds alternate; medians count.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.machine import describe
from benchmarks.published import synthesise
from core.device import pick_device, synchronize
from core.files import write_bytes
from inversion.inverter import open_network
from inversion.loss import Target
from inversion.optimiser import optimise
from inversion.perceptual import PerceptualDistance, load_perceptual
from inversion.settings import PAPER
from stylegan import Generator, GeneratorConfig
from stylegan.synthesis import SynthesisNetwork
from weights.embedded import DEFAULT_NETWORK

FOLDER = Path(__file__).parent / "results"
EMBEDDED_SIZE = 64


@click.command()
@click.option("--sizes", multiple=True, type=int, default=(64, 128), show_default=True, help="Pixels along a side.")
@click.option("--steps", default=10, show_default=True, help="Of a round.")
@click.option("--rounds", default=5, show_default=True, help="Timed, after one to warm up.")
@click.option("--batches", multiple=True, type=int, default=(1, 4, 16), show_default=True, help="Photos together.")
@click.option("--device", default=None)
@click.option("--out", default="speed", show_default=True, help="Name of the result.")
def main(
    sizes: tuple[int, ...], steps: int, rounds: int, batches: tuple[int, ...], device: str | None, out: str
) -> None:
    """Measure and write results/OUT.json and OUT.md."""
    where = pick_device(device)
    rows = {size: measure(network_of(size, where), batches, steps, rounds, where) for size in sizes}
    result = {"steps": steps, "rounds": rounds, "sizes": rows, "machine": describe()}
    write_bytes(FOLDER / f"{out}.json", (json.dumps(result, indent=2) + "\n").encode())
    text = as_markdown(rows)
    write_bytes(FOLDER / f"{out}.md", text.encode())
    click.echo(text)


def network_of(size: int, device: torch.device) -> Generator:
    """The embedded network, or one of published width with random weights."""
    if size == EMBEDDED_SIZE:
        return open_network(DEFAULT_NETWORK, str(device))
    torch.manual_seed(0)
    base = {128: 8192, 256: 16384}.get(size, 32768)
    config = GeneratorConfig(resolution=size, channel_base=base, channel_max=256 if size == 128 else 512)
    network = Generator(config, name=f"random-{size}").to(device)
    return network.eval().requires_grad_(False)


def measure(
    network: Generator, batches: tuple[int, ...], steps: int, rounds: int, device: torch.device
) -> dict[str, dict[str, float]]:
    """Milliseconds of one step for one photo, by form and batch."""
    size, perceptual = network.resolution, load_perceptual("embedded", device)
    photos = torch.rand(max(batches), 3, size, size, generator=torch.Generator().manual_seed(0)).to(device) * 2 - 1
    settings = dataclasses.replace(PAPER, num_steps=steps)
    forms: dict[str, tuple[int, Callable[[], object]]] = {
        "published": (1, lambda: published_steps(network, photos[:1], perceptual, steps))
    }
    for count in batches:
        target = Target(photos[:count], perceptual)
        forms[f"ours, {count} together"] = (
            count,
            lambda target=target: optimise(network, target, settings, seed=0),  # type: ignore[misc]
        )
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for number in range(rounds + 1):
        for name, (count, form) in forms.items():
            synchronize(device)
            started = time.perf_counter()
            form()
            synchronize(device)
            if number:
                seconds[name].append((time.perf_counter() - started) / steps / count * 1000)
    published = statistics.median(seconds["published"])
    return {
        name: {
            "milliseconds": round(statistics.median(values), 2),
            "fastest": round(min(values), 2),
            "slowest": round(max(values), 2),
            "times_as_fast": round(published / statistics.median(values), 2),
        }
        for name, values in seconds.items()
    }


def published_steps(network: Generator, photo: Tensor, perceptual: PerceptualDistance, steps: int) -> float:
    """The paper's projector (Karras et al. 2020, appendix D) in the published form; returns the last loss."""
    synthesis = network.synthesis
    assert isinstance(synthesis, SynthesisNetwork)
    with torch.no_grad():
        features = perceptual.features(photo)
        samples = network.sample_w(10_000, seed=123)
        spread = float((samples - samples.mean(dim=0)).square().sum(dim=1).mean().sqrt())
    w = network.w_avg.detach().clone()[None, None].requires_grad_(True)
    noise = [torch.randn_like(level).requires_grad_(True) for level in synthesis.noise_buffers]
    adam = torch.optim.Adam([w, *noise], lr=PAPER.learning_rate, betas=(0.9, 0.999))
    loss = float("nan")
    for _ in range(steps):
        jittered = w + torch.randn_like(w) * spread * PAPER.latent_noise
        drawn = synthesise(synthesis, jittered.repeat(1, network.num_ws, 1), noise)
        distance = perceptual.between(perceptual.features(drawn), features).sum()
        total = distance + PAPER.weights.noise * noise_loss(noise)
        adam.zero_grad(set_to_none=True)
        total.backward()
        adam.step()
        loss = float(total.detach())
        with torch.no_grad():
            for level in noise:
                level -= level.mean()
                level *= level.square().mean().rsqrt()
    return loss


def noise_loss(noise: list[Tensor]) -> Tensor:
    """Autocorrelation of every map at every size down to 8."""
    total = torch.zeros([], device=noise[0].device)
    for level in noise:
        while True:
            total = total + (level * torch.roll(level, 1, 3)).mean().square()
            total = total + (level * torch.roll(level, 1, 2)).mean().square()
            if level.shape[2] <= 8:
                break
            level = F.avg_pool2d(level, 2)
    return total


def as_markdown(rows: dict[int, dict[str, dict[str, float]]]) -> str:
    """One line a size and form."""
    lines = ["| px | form | ms a step and photo | times as fast |", "|---|---|---|---|"]
    for size, forms in rows.items():
        for name, row in forms.items():
            lines.append(f"| {size} | {name} | {row['milliseconds']:.1f} | {row['times_as_fast']:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
