"""Runs the stages of a plan on a batch of photos: encoder, optimisation, pivotal tuning."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from inversion.encoders.encoder import Encoder, require_fit, start_from_encoder
from inversion.encoders.loading import load_encoder
from inversion.losses.loss import Target
from inversion.optim.low_rank import Tuned
from inversion.optim.optimisation import Latents
from inversion.optim.pivotal_tuning import tune
from inversion.optim.preconditioner import Preconditioner
from inversion.optim.preconditioner_file import preconditioner_for
from inversion.optim.projector import Progress, optimise
from inversion.presets import Plan, presets
from relatent.core import cpu
from relatent.core.device import synchronize
from relatent.core.errors import UsageError
from relatent.core.execution import EAGER
from stylegan.formats.checkpoint import network_id, same_network
from stylegan.networks.generator import Generator
from weights.embedded import encoder_path


@dataclass
class PlanResult:
    """The result of a plan for a batch of photos.

    Attributes:
        latents: ws and noise maps, on the network's device.
        losses: of each photo, [N].
        own_noise: the network's own noise was used, so no noise maps need to be stored.
        tuned: each photo's low-rank updates of the network's weights; None without tuning.
        seconds: of each stage, for the whole batch.
    """

    latents: Latents
    losses: Tensor
    own_noise: bool = False
    tuned: list[Tuned] | None = None
    seconds: dict[str, float] = field(default_factory=dict)


def run_plan(
    plan: Plan,
    network: Generator,
    encoder: Encoder | None,
    target: Target,
    *,
    preconditioner: Preconditioner | None = None,
    seed: int,
    progress: Progress | None = None,
    execution: str = EAGER,
    count: int | None = None,
) -> PlanResult:
    """Run the stages of ``plan`` on the target's photos.

    Args:
        plan: the stages.
        network: a frozen generator, on the target's device.
        encoder: None if there is none; the optimisation then starts from ``w_avg``.
        target: the photos.
        preconditioner: the network's, on its device; required by a preconditioned plan.
        seed: of everything random.
        progress: sees each step of optimisation and tuning, or of the refinement where there is nothing else;
            returning False cancels.
        execution: of the steps, "eager", "graph" or "compile".
        count: how many photos of the target are wanted, the first ones; the others are dropped before tuning. None for
            all.

    Raises:
        UsageError: the plan has only an encoder stage and there is no encoder, or it belongs to another network.
        Cancelled: the callback returned False.
    """
    seconds: dict[str, float] = {}
    device = network.w_avg.device
    if count is not None:
        progress = _of_first(progress, count)
    with cpu.prepared(device):
        start = losses = None
        if plan.encoder_iterations and encoder is not None:
            with _timed(seconds, "encode", device):
                start = start_from_encoder(encoder, target.images, network, plan.encoder_iterations)
                if plan.refinement is not None:
                    refined, losses = optimise(
                        network,
                        target,
                        plan.refinement,
                        seed=seed,
                        start=start,
                        preconditioner=preconditioner,
                        progress=None if plan.optimiser else progress,  # else it would count twice
                        execution=execution,
                    )
                    start = refined.w
        if plan.optimiser is None:
            result = _encoder_result(network, target, start, losses)
        else:
            with _timed(seconds, "optimise", device):
                latents, losses = optimise(
                    network,
                    target,
                    plan.optimiser,
                    seed=seed,
                    start=start,
                    preconditioner=preconditioner,
                    progress=progress,
                    execution=execution,
                )
            result = PlanResult(latents, losses, own_noise=not plan.optimiser.optimise_noise or not latents.noise)
        if count is not None:
            result.latents, result.losses, target = result.latents.first(count), result.losses[:count], target[:count]
        if plan.tuning is not None:
            with _timed(seconds, "tune", device):
                result.tuned, result.losses = tune(
                    network, target, result.latents, plan.tuning, seed=seed, progress=progress, execution=execution
                )
    result.seconds = seconds
    return result


def _of_first(progress: Progress | None, count: int) -> Progress | None:
    """A callback for steps of more photos, which shows those of the first ones."""
    if progress is None:
        return None
    return lambda step: progress(dataclasses.replace(step, losses=step.losses[:count], images=step.images[:count]))


def joined(results: Sequence[PlanResult]) -> PlanResult:
    """The results of one plan for several batches as one."""
    first = results[0]
    latents = Latents(
        torch.cat([result.latents.w for result in results]),
        [torch.cat(levels) for levels in zip(*(result.latents.noise for result in results), strict=True)],
    )
    tuned = None if first.tuned is None else [one for result in results for one in result.tuned or []]
    seconds = {stage: sum(result.seconds[stage] for result in results) for stage in first.seconds}
    return PlanResult(latents, torch.cat([result.losses for result in results]), first.own_noise, tuned, seconds)


def presets_of(network: Generator, preconditioner: str | Preconditioner | None = None) -> dict[str, Plan]:
    """The presets of a network, which depend on whether it has a preconditioner, given or embedded."""
    return presets(preconditioner_for(network, preconditioner) is not None)


def encoder_for(network: Generator, plan: Plan, chosen: str | Path | Encoder | None) -> Encoder | None:
    """The encoder of a plan: the chosen one, or the one that ships with the network, if any.

    Raises:
        UsageError: the plan has only an encoder stage and there is no encoder, or the chosen one does not fit the
            network.
    """
    if not plan.encoder_iterations:
        return None
    device = network.w_avg.device
    if chosen is not None:
        encoder = (load_encoder(chosen) if isinstance(chosen, str | Path) else chosen).to(device)
        require_fit(encoder, network)
        if encoder.alignment != network.alignment:
            raise UsageError(
                f"the encoder reads faces cropped to {encoder.alignment} and the network draws {network.alignment}. "
                "Use an encoder that was trained with this network."
            )
        return encoder
    embedded = _embedded_encoder(network.name, network_id(network), str(device))
    if embedded is None and plan.optimiser is None:
        raise UsageError(
            f"this preset needs an encoder, and {network.name or 'this network'} comes with none. "
            "Use the preset balanced, or name an encoder of this network with --encoder."
        )
    return embedded


@functools.lru_cache(maxsize=4)
def _embedded_encoder(name: str, network: str, device: str) -> Encoder | None:
    """The encoder of an embedded network, if it was trained with exactly this network."""
    path = encoder_path(name)
    if path is None:
        return None
    encoder = load_encoder(path)
    return encoder.to(device) if same_network(encoder.network, network) else None


@torch.no_grad()
def _encoder_result(network: Generator, target: Target, start: Tensor | None, losses: Tensor | None) -> PlanResult:
    """The result of a plan without optimisation; ``losses`` are computed unless given."""
    if start is None:
        raise UsageError("a preset without an optimisation needs an encoder. Use the preset balanced.")
    if losses is None:
        losses = target.perceptual_distance(network.synthesis(start))
    noise = [level.expand(len(start), -1, -1, -1) for level in network.synthesis.noise_buffers]
    return PlanResult(Latents(start, noise), losses, own_noise=True)


@contextmanager
def _timed(seconds: dict[str, float], stage: str, device: torch.device) -> Iterator[None]:
    started = time.perf_counter()
    yield
    synchronize(device)
    seconds[stage] = time.perf_counter() - started
