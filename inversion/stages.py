"""What a preset does to a batch of photos, stage by stage: an encoder's look, an optimisation, pivotal tuning."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from inversion.encoders.encoder import Encoder, require_fit, start_from_encoder
from inversion.encoders.loading import load_encoder
from inversion.losses.loss import Target
from inversion.optim.low_rank import Tuned
from inversion.optim.pivotal_tuning import tune
from inversion.optim.preconditioner import Preconditioner
from inversion.optim.preconditioner_file import preconditioner_for
from inversion.optim.projector import Latents, Progress, optimise
from inversion.presets import Plan, presets
from relatent.core import cpu
from relatent.core.device import synchronize
from relatent.core.errors import UsageError
from stylegan.formats.checkpoint import network_id, same_network
from stylegan.networks.generator import Generator
from weights.embedded import encoder_path


@dataclass
class Found:
    """What was found for a batch of photos.

    Attributes:
        latents: ws and noise maps, on the network's device.
        losses: each photo's, [N].
        own_noise: the network's own noise was used, so there is none to keep.
        tuned: each photo's additions to the network's weights; None without tuning.
        seconds: of each stage that was used, for the whole batch.
    """

    latents: Latents
    losses: Tensor
    own_noise: bool = False
    tuned: list[Tuned] | None = None
    seconds: dict[str, float] = field(default_factory=dict)


def carry_out(
    plan: Plan,
    network: Generator,
    encoder: Encoder | None,
    target: Target,
    *,
    preconditioner: Preconditioner | None = None,
    seed: int,
    progress: Progress | None = None,
) -> Found:
    """Do to the target's photos what the plan says.

    Args:
        plan: the stages.
        network: a frozen generator, on the target's device.
        encoder: None if there is none; then an optimisation starts at ``w_avg``.
        target: the photos.
        preconditioner: the network's, on its device; a preconditioned plan needs it.
        seed: of everything random.
        progress: sees each step of optimisation and tuning, or of the refinement where there is nothing else;
            returning False cancels.

    Raises:
        UsageError: a plan of nothing but an encoder, without one; or an encoder of another network.
        Cancelled: the callback returned False.
    """
    seconds: dict[str, float] = {}
    device = network.w_avg.device
    with cpu.prepared(device):
        start = judged = None
        if plan.encoder_iterations and encoder is not None:
            with _timed(seconds, "encode", device):
                start = start_from_encoder(encoder, target.images, network, plan.encoder_iterations)
                if plan.refinement is not None:
                    refined, judged = optimise(
                        network,
                        target,
                        plan.refinement,
                        seed=seed,
                        start=start,
                        preconditioner=preconditioner,
                        progress=None if plan.optimiser else progress,  # else it would count twice
                    )
                    start = refined.w
        if plan.optimiser is None:
            found = _as_it_is(network, target, start, judged)
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
                )
            found = Found(latents, losses, own_noise=not plan.optimiser.optimise_noise or not latents.noise)
        if plan.tuning is not None:
            with _timed(seconds, "tune", device):
                found.tuned, found.losses = tune(
                    network, target, found.latents, plan.tuning, seed=seed, progress=progress
                )
    found.seconds = seconds
    return found


def presets_of(network: Generator, preconditioner: str | Preconditioner | None = None) -> dict[str, Plan]:
    """What the presets are for a network with a preconditioner, the given one or the one that ships beside it."""
    return presets(preconditioner_for(network, preconditioner) is not None)


def encoder_for(network: Generator, plan: Plan, chosen: str | Path | Encoder | None) -> Encoder | None:
    """The encoder a plan starts with: the chosen one, or the one that ships with the network, if any.

    Raises:
        UsageError: the plan is nothing but an encoder and there is none, or the chosen one is of another network.
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
    own = _embedded_encoder(network.name, network_id(network), str(device))
    if own is None and plan.optimiser is None:
        raise UsageError(
            f"this preset needs an encoder, and {network.name or 'this network'} comes with none. "
            "Use the preset balanced, or name an encoder of this network with --encoder."
        )
    return own


@functools.lru_cache(maxsize=4)
def _embedded_encoder(name: str, network: str, device: str) -> Encoder | None:
    """The encoder beside an embedded network, if it was trained with exactly that one."""
    path = encoder_path(name)
    if path is None:
        return None
    encoder = load_encoder(path)
    return encoder.to(device) if same_network(encoder.network, network) else None


@torch.no_grad()
def _as_it_is(network: Generator, target: Target, start: Tensor | None, losses: Tensor | None) -> Found:
    """The encoder's latents with the network's own noise, and nothing more; ``losses`` where they are known."""
    if start is None:
        raise UsageError("a preset without an optimisation needs an encoder. Use the preset balanced.")
    if losses is None:
        losses = target.perceptual_distance(network.synthesis(start))
    noise = [level.expand(len(start), -1, -1, -1) for level in network.synthesis.noise_buffers]
    return Found(Latents(start, noise), losses, own_noise=True)


@contextmanager
def _timed(seconds: dict[str, float], stage: str, device: torch.device) -> Iterator[None]:
    started = time.perf_counter()
    yield
    synchronize(device)
    seconds[stage] = time.perf_counter() - started
