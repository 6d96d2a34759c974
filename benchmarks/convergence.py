"""How fast inversion converges: Adam, L-BFGS, the preconditioner alone, and both together, from the same start.

    python -m benchmarks.convergence --faces fairface-128.zip

The first COUNT faces of the zip's folder val/, with the loss, the noise maps and the seed of the preset balanced; only
the update of the latents differs. Every method starts at the encoder's latents and again at w_avg. LPIPS at a step is
that of the iterate with the smallest loss so far, which is what the optimiser would return. Time is the CPU time of the
process: the median step of each method, relative to Adam's. Each face's curves are kept in results/OUT.parts/, so an
interrupted run continues where it stopped.
"""

from __future__ import annotations

import dataclasses
import io
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import click
import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.inverting import SEED, made_by, validation_faces
from benchmarks.lines import Lines
from benchmarks.machine import describe
from inversion.encoders.encoder import Encoder, start_from_encoder
from inversion.losses.loss import LossWeights, Target
from inversion.losses.perceptual import PerceptualDistance, load_perceptual
from inversion.optim import projector
from inversion.optim.lbfgs import MIN_CURVATURE, LbfgsHistory, PreconditionedLbfgs
from inversion.optim.preconditioner import Preconditioner
from inversion.optim.preconditioner_file import preconditioner_for
from inversion.optim.projector import Step, optimise
from inversion.pipeline import open_network
from inversion.presets import (
    BALANCED,
    BALANCED_PRECONDITIONED,
    PRECONDITIONED_PRESETS,
    LbfgsSettings,
    OptimiserSettings,
)
from inversion.stages import encoder_for
from relatent.core import cpu
from relatent.core.errors import UsageError
from relatent.core.files import write_bytes
from stylegan import Generator, network_id
from stylegan.training.dataset import ImageDataset
from weights.embedded import DEFAULT_NETWORK

FOLDER = Path(__file__).parent / "results"
ADAM, LBFGS, PRECONDITIONER, BOTH = "Adam", "L-BFGS", "preconditioner", "preconditioner and L-BFGS history"
COLOURS = {ADAM: "#777777", LBFGS: "#1f77b4", PRECONDITIONER: "#ff7f0e", BOTH: "#d62728"}
STARTS = ("encoder", "w_avg")
# The length of L-BFGS's first step, along the gradient, in standard deviations of w per layer. Chosen on six training
# faces from 0.02, 0.05, 0.1, 0.2 and 0.4, which are within 10 % of each other after 40 steps.
FIRST_STEP = 0.05

Curves = dict[str, list[float]]  # LPIPS after 0, 1, 2 ... steps, by face


@click.command()
@click.option("--faces", required=True, type=click.Path(path_type=Path, exists=True), help="Zip file with val/.")
@click.option("--count", default=24, show_default=True, type=click.IntRange(min=1), help="Validation faces.")
@click.option("--num-steps", default=BALANCED_PRECONDITIONED.num_steps, show_default=True, type=click.IntRange(min=1))
@click.option("--network", default=DEFAULT_NETWORK, show_default=True, metavar="NAME_OR_FILE")
@click.option("--batch", default=12, show_default=True, type=click.IntRange(min=1), help="Photos optimised together.")
@click.option("--out", default="convergence", show_default=True, help="Name of the result.")
@click.option("--folder", default=FOLDER, type=click.Path(path_type=Path), help="Where results go.")
def main(faces: Path, count: int, num_steps: int, network: str, batch: int, out: str, folder: Path) -> None:
    """Run every method from every start and write OUT.json, OUT.md and OUT.png."""
    generator = open_network(network)
    preconditioner = preconditioner_for(generator)
    if preconditioner is None:
        raise UsageError(f"{network} has no preconditioner; expected a network that ships with one.")
    trial = Trial(generator, preconditioner, faces, batch, folder / f"{out}.parts")
    names = ImageDataset(faces, generator.resolution, "val").names[:count]
    starts: dict[str, Any] = {}
    for start in trial.starts():
        found = {method: trial.run(method, start, names, num_steps) for method in COLOURS}
        starts[start] = summary({method: curves for method, (curves, _) in found.items()}, times_of(found))
    result = {
        "network": network_id(generator),
        "lpips_backbone": trial.perceptual.backbone,
        "faces": len(names),
        "num_steps": num_steps,
        "batch": batch,
        "settings": {method: dataclasses.asdict(settings_of(method, num_steps)) for method in COLOURS},
        "first_step_of_lbfgs": FIRST_STEP,
        "starts": starts,
        "machine": describe(),
    }
    write_bytes(folder / f"{out}.json", (json.dumps(result) + "\n").encode())
    write_bytes(folder / f"{out}.md", table(result).encode())
    write_bytes(folder / f"{out}.png", figure(result))
    click.echo(table(result))


def settings_of(method: str, num_steps: int) -> OptimiserSettings:
    """The preset balanced with another update of the latents; Adam keeps the rate and schedule swept for it."""
    settings = dataclasses.replace(BALANCED_PRECONDITIONED, num_steps=num_steps)
    if method == ADAM:
        return dataclasses.replace(
            settings,
            lbfgs=None,
            lr_rampup_length=BALANCED.lr_rampup_length,
            lr_rampdown_length=BALANCED.lr_rampdown_length,
        )
    if method == PRECONDITIONER:
        return dataclasses.replace(settings, lbfgs=LbfgsSettings(memory=0))
    return settings


class Recorded(Target):
    """A target that remembers each evaluation's loss and LPIPS, [N]."""

    def __init__(self, images: Tensor, perceptual: PerceptualDistance) -> None:
        super().__init__(images, perceptual)
        self.losses: list[Tensor] = []
        self.lpips: list[Tensor] = []

    def perceptual_distance(self, drawn: Tensor) -> Tensor:
        distance = super().perceptual_distance(drawn)
        self.lpips.append(distance.detach())
        return distance

    def terms(self, drawn: Tensor, weights: LossWeights) -> Tensor:
        losses = super().terms(drawn, weights)
        self.losses.append(losses.detach())
        return losses

    def curves(self) -> list[list[float]]:
        """Each photo's LPIPS after 0, 1, 2 ... steps, at the smallest loss so far."""
        losses, lpips = torch.stack(self.losses), torch.stack(self.lpips)  # [steps + 1, N]
        best = losses.nan_to_num(torch.inf).cummin(dim=0).indices
        return [[round(value, 5) for value in curve] for curve in lpips.gather(0, best).t().tolist()]


class PlainHistory(LbfgsHistory):
    """The two-loop recursion with the usual initial matrix, a multiple of the identity (Nocedal and Wright 2006).

    The multiple is s.y / y.y of the newest pair (equation 7.20), each photo's own.

    Args:
        memory: pairs that are kept.
        first: length of a step along the gradient while there is no pair.
    """

    def __init__(self, memory: int, first: float) -> None:
        super().__init__(memory)
        self.first = first
        self.gamma: Tensor | None = None

    def add(self, s: Tensor, y: Tensor, preconditioned_y: Tensor) -> None:  # noqa: ARG002 - no preconditioner
        assert self.gamma is not None  # a step was taken before
        sy, yy = _dot(s, y), _dot(y, y)
        kept = sy > MIN_CURVATURE * self.gamma * yy
        self.gamma = torch.where(kept, sy / yy.clamp(min=1e-30), self.gamma)
        s, y = (torch.where(kept[:, None, None], part, 0.0) for part in (s, y))
        self.pairs.append((s, y, y, 1 / torch.where(kept, sy, 1.0)))

    def apply(self, gradient: Tensor, preconditioned: Tensor) -> Tensor:  # noqa: ARG002 - no preconditioner
        if self.gamma is None:
            self.gamma = self.first / _dot(gradient, gradient).sqrt()
        alphas = []
        for s, y, _, rho in reversed(self.pairs):
            alphas.append((rho * _dot(s, gradient))[:, None, None])
            gradient = gradient - alphas[-1] * y
        direction = self.gamma[:, None, None] * gradient
        for (s, y, _, rho), alpha in zip(self.pairs, reversed(alphas), strict=True):
            direction = direction + (alpha - (rho * _dot(y, direction))[:, None, None]) * s
        return direction


class PlainLbfgs(PreconditionedLbfgs):
    """L-BFGS without a preconditioner; memory, schedule and step control are those of the preconditioned one."""

    first = FIRST_STEP

    def __init__(
        self,
        w: Tensor,
        noise: list[Tensor],
        learning_rate: float,
        preconditioner: Preconditioner,
        settings: LbfgsSettings,
    ) -> None:
        super().__init__(w, noise, learning_rate, preconditioner, settings)
        w_std = float(preconditioner.covariance.trace()) ** 0.5
        self.history = PlainHistory(settings.memory, self.first * w_std * w.shape[1] ** 0.5)

    def _precondition(self, gradient: Tensor) -> Tensor:
        return gradient


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(dim=1)


@contextmanager
def latents_move_by(method: str) -> Iterator[None]:
    """Let the projector use plain L-BFGS for as long as this lasts, if that is the method."""
    chosen = PlainLbfgs if method == LBFGS else PreconditionedLbfgs
    with mock.patch.object(projector, "PreconditionedLbfgs", chosen):
        yield


class Trial:
    """A network and the faces that are inverted with it.

    Args:
        generator: the network.
        preconditioner: the network's.
        faces: zip file with val/.
        batch: photos optimised together.
        parts: folder of the curves that are known.
    """

    def __init__(
        self, generator: Generator, preconditioner: Preconditioner, faces: Path, batch: int, parts: Path
    ) -> None:
        self.generator, self.preconditioner, self.faces, self.batch = generator, preconditioner, faces, batch
        self.parts = parts
        self.perceptual = load_perceptual("embedded", generator.w_avg.device)
        self.plan = PRECONDITIONED_PRESETS["balanced"]
        self.encoder: Encoder | None = encoder_for(generator, self.plan, None)

    def starts(self) -> list[str]:
        """Those that the network has."""
        return [start for start in STARTS if start != "encoder" or self.encoder is not None]

    def run(
        self, method: str, start: str, names: Sequence[str], num_steps: int, folder: str = "val"
    ) -> tuple[Curves, list[float]]:
        """Each face's curve, and the CPU seconds of a step per photo, one value for each batch."""
        settings = settings_of(method, num_steps)
        plan = dataclasses.replace(self.plan, encoder_iterations=int(start == "encoder"), optimiser=settings)
        about = {**made_by(self.generator, plan), "method": method, "start": start, "folder": folder}
        name = f"{start}-{method.replace(' ', '-')}-{num_steps}"
        lines = Lines(self.parts / f"{folder}-{name}.jsonl", {**about, "first_step": PlainLbfgs.first})
        waiting = [face for face in names if face not in lines.rows]
        with tqdm(total=len(names), initial=len(names) - len(waiting), desc=f"{start}, {method}") as bar:
            for first in range(0, len(waiting), self.batch):
                chunk = waiting[first : first + self.batch]
                photos = validation_faces(self.faces, folder, chunk, self.generator.resolution)
                curves, seconds = self._inverted(photos, method, start, settings)
                for face, curve in zip(chunk, curves, strict=True):
                    lines.add(face, {"lpips": curve, "seconds": seconds})
                bar.update(len(chunk))
        rows = [lines.rows[face] for face in names]
        return {face: row["lpips"] for face, row in zip(names, rows, strict=True)}, [row["seconds"] for row in rows]

    def _inverted(
        self, photos: Tensor, method: str, start: str, settings: OptimiserSettings
    ) -> tuple[list[list[float]], float]:
        device = self.generator.w_avg.device
        target = Recorded(photos.to(device), self.perceptual)
        clock = StepClock()
        with cpu.prepared(device), latents_move_by(method):
            ws = None
            if start == "encoder" and self.encoder is not None:
                ws = start_from_encoder(self.encoder, target.images, self.generator, 1)
            optimise(
                self.generator,
                target,
                settings,
                seed=SEED,
                start=ws,
                preconditioner=self.preconditioner,
                progress=clock,
            )
        return target.curves(), clock.median() / len(photos)


class StepClock:
    """A progress callback that notes the CPU time of each step."""

    def __init__(self, now: Callable[[], float] = time.process_time) -> None:
        self.now = now
        self.moments: list[float] = []

    def __call__(self, _step: Step) -> None:
        self.moments.append(self.now())

    def median(self) -> float:
        """Seconds of the middle step; 0 for a single one."""
        steps = [after - before for before, after in zip(self.moments, self.moments[1:], strict=False)]
        return statistics.median(steps) if steps else 0.0


def times_of(found: dict[str, tuple[Curves, list[float]]]) -> dict[str, float]:
    """The time of each method's step relative to Adam's."""
    seconds = {method: statistics.median(values) for method, (_, values) in found.items()}
    return {method: round(value / seconds[ADAM], 3) if seconds[ADAM] else 1.0 for method, value in seconds.items()}


def summary(found: dict[str, Curves], times: dict[str, float]) -> dict[str, Any]:
    """Quartiles over the faces after each step, and when each method has the LPIPS that Adam ends with."""
    quartiles = {method: quartiles_of(curves) for method, curves in found.items()}
    goal = quartiles[ADAM]["median"][-1]
    return {
        method: {
            **values,
            "step_time": times[method],
            "steps_to_adams_end": next((step for step, lpips in enumerate(values["median"]) if lpips <= goal), None),
        }
        for method, values in quartiles.items()
    }


def quartiles_of(curves: Curves) -> dict[str, list[float]]:
    """LPIPS over the faces after each step: the quartiles, linearly interpolated."""
    each = torch.tensor(list(curves.values()), dtype=torch.float64)  # [faces, steps + 1]
    places = each.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64), dim=0)
    names = ("lower_quartile", "median", "upper_quartile")
    return {name: [round(value, 5) for value in row.tolist()] for name, row in zip(names, places, strict=True)}


def table(result: dict[str, Any]) -> str:
    """Medians after some steps as Markdown."""
    steps = sorted({max(1, round(share * result["num_steps"])) for share in (0.1, 0.25, 0.5, 1.0)})
    columns = ["start", "method", *(f"LPIPS after {step}" for step in steps), "steps to Adam's end", "time of a step"]
    lines = [_line(columns), "|---" * len(columns) + "|"]
    for start, methods in result["starts"].items():
        for method, row in methods.items():
            reached = row["steps_to_adams_end"]
            values = [f"{row['median'][step]:.3f}" for step in steps]
            lines.append(
                _line([start, method, *values, "" if reached is None else str(reached), f"{row['step_time']:.2f}"])
            )
    return "\n".join(lines) + "\n"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def figure(result: dict[str, Any]) -> bytes:
    """LPIPS against steps and against time, median and quartiles, a row for each start; the bytes of a PNG."""
    from matplotlib.figure import Figure

    picture = Figure(figsize=(10, 4 * len(result["starts"]) + 0.4), layout="constrained")
    grid = picture.subplots(len(result["starts"]), 2, squeeze=False, sharey="row")
    for (start, methods), (by_step, by_time) in zip(result["starts"].items(), grid, strict=True):
        for method, row in methods.items():
            steps = range(len(row["median"]))
            times = [step * row["step_time"] / result["num_steps"] for step in steps]
            for axes, x in ((by_step, steps), (by_time, times)):
                axes.plot(x, row["median"], color=COLOURS[method], label=method)
                axes.fill_between(
                    x, row["lower_quartile"], row["upper_quartile"], color=COLOURS[method], alpha=0.15, linewidth=0
                )
        by_step.set(xlabel="steps", ylabel=f"LPIPS ({result['lpips_backbone']})", title=f"start: {start}")
        by_time.set(xlabel="CPU time relative to Adam's run", title=f"start: {start}")
        for axes in (by_step, by_time):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}")
            axes.tick_params(which="minor", labelsize=7)
            axes.grid(alpha=0.3, which="both")
    grid[0][0].legend()
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
