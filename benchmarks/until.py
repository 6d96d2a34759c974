"""How long `balanced` takes to reach the LPIPS that the paper's projector has after its last step."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.inverting import astronaut, validation_faces
from inversion.losses.loss import Target
from inversion.losses.perceptual import load_perceptual
from inversion.optim.preconditioner import Preconditioner
from inversion.optim.preconditioner_file import preconditioner_for
from inversion.optim.projector import Step, optimise
from inversion.presets import OptimiserSettings, Plan
from inversion.stages import encoder_for, run_plan
from relatent.core.device import synchronize
from relatent.core.execution import EAGER
from stylegan import Generator
from stylegan.training.data.dataset import ImageDataset

FACES = 3  # beside the astronaut


def photos(network: Generator, faces: Path | None) -> Tensor:
    """The astronaut and, from a zip file, the first validation faces, [N, 3, R, R]."""
    images = [astronaut(network)]
    if faces is not None:
        names = ImageDataset(faces, network.resolution, "val").names[:FACES]
        images.append(validation_faces(faces, "val", names, network.resolution))
    return torch.cat(images)


def until(
    network: Generator,
    images: Tensor,
    paper: Plan,
    ours: Plan,
    clock: Callable[[], float] = time.perf_counter,
    execution: str = EAGER,
) -> dict[str, object]:
    """Seconds and steps until a plan reaches what the paper's comes to, photos together; medians over photos.

    A step's time is its share of the whole run's. The encoder's time is counted, and its picture is step 0. None where
    a photo never reaches it.

    Args:
        network: a trained network; results of one with random weights would be meaningless.
        images: [N, 3, R, R].
        paper: the plan of the baseline.
        ours: a plan with an optimisation and no tuning.
        clock: seconds since some moment.
        execution: of the steps; a graph is captured before the clock starts.
    """
    device = network.w_avg.device
    perceptual = load_perceptual("embedded", device)
    target = Target(images.to(device), perceptual)
    assert paper.optimiser is not None
    network.w_std()
    _warm_up(network, target, paper.optimiser, execution)
    synchronize(device)
    started = clock()
    latents, _ = optimise(network, target, paper.optimiser, seed=0, execution=execution)
    synchronize(device)
    paper_seconds = (clock() - started) / len(images)
    with torch.no_grad():
        reached = target.perceptual_distance(network.synthesis(latents.ws(network.num_ws), noise=latents.noise))
    drawn: list[Tensor] = []
    encoder, preconditioner = encoder_for(network, ours, None), preconditioner_for(network)
    assert ours.optimiser is not None
    _warm_up(network, target, ours.optimiser, execution, preconditioner)
    started = clock()
    result = run_plan(
        ours,
        network,
        encoder,
        target,
        preconditioner=preconditioner,
        seed=0,
        progress=lambda step: _keep(drawn, step),
        execution=execution,
    )
    whole = clock() - started
    encoding = result.seconds.get("encode", 0.0) / sum(result.seconds.values())  # the encoder's share of the time
    with torch.no_grad():
        distances = torch.stack([target.perceptual_distance(images) for images in drawn])  # [steps, N]
    steps = [_first(column <= limit) for column, limit in zip(distances.t(), reached, strict=True)]
    shares = [None if step is None else encoding + (1 - encoding) * step / len(drawn) for step in steps]
    seconds = [None if share is None else whole * share / len(images) for share in shares]
    known = [value for value in seconds if value is not None]
    return {
        "photos": len(images),
        "paper_steps": paper.optimiser.num_steps,
        "paper_lpips": round(float(reached.median()), 4),
        "paper_seconds": round(paper_seconds, 2),
        "steps": steps,
        "seconds": round(statistics.median(known), 2) if known else None,
        "reached": f"{len(known)} of {len(images)}",
        "times_as_fast": round(paper_seconds / statistics.median(known), 1) if known else None,
        "settings": dataclasses.asdict(ours),
    }


def _warm_up(
    network: Generator,
    target: Target,
    settings: OptimiserSettings,
    execution: str,
    preconditioner: Preconditioner | None = None,
) -> None:
    """Capture or compile the steps, which are kept for those that are timed."""
    if execution != EAGER:
        few = dataclasses.replace(settings, num_steps=6)
        optimise(network, target, few, seed=0, preconditioner=preconditioner, execution=execution)


def _keep(drawn: list[Tensor], step: Step) -> None:
    if step.stage == "optimise":
        drawn.append(step.images)


def _first(flags: Tensor) -> int | None:
    """Place of the first True, counted from 1."""
    places = flags.nonzero()
    return int(places[0]) + 1 if len(places) else None
