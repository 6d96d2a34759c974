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

from benchmarks.convergence_table import ADAM, COLOURS, LBFGS, PRECONDITIONER, Curves, figure, summary, table, times_of
from benchmarks.inverting import SEED, made_by, validation_faces
from benchmarks.lines import Lines
from benchmarks.machine import describe
from benchmarks.plain_lbfgs import FIRST_STEP, PlainLbfgs
from inversion.encoders.encoder import Encoder, start_from_encoder
from inversion.losses.loss import LossWeights, Target
from inversion.losses.perceptual import PerceptualDistance, load_perceptual
from inversion.optim import lbfgs
from inversion.optim.lbfgs import PreconditionedLbfgs
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
from stylegan.training.data.dataset import ImageDataset
from weights.embedded import DEFAULT_NETWORK

FOLDER = Path(__file__).parent / "results"
STARTS = ("encoder", "w_avg")


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
        runs = {method: trial.run(method, start, names, num_steps) for method in COLOURS}
        starts[start] = summary({method: curves for method, (curves, _) in runs.items()}, times_of(runs))
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
    """A target that records each evaluation's loss and LPIPS, [N]."""

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


@contextmanager
def latents_move_by(method: str) -> Iterator[None]:
    """Context manager in which the projector uses plain L-BFGS, if that is the method."""
    chosen = PlainLbfgs if method == LBFGS else PreconditionedLbfgs
    with mock.patch.object(lbfgs, "PreconditionedLbfgs", chosen):
        yield


class Trial:
    """A network and the faces that are inverted with it.

    Args:
        generator: the network.
        preconditioner: the network's.
        faces: zip file with val/.
        batch: photos optimised together.
        parts: folder of finished curves.
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
        """The starts that are available for the network."""
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


if __name__ == "__main__":
    main()
