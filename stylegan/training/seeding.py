"""Random numbers that depend only on a run's seed and on the step."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def seeded(seed: int, step: int, device: torch.device | None = None) -> Iterator[None]:
    """Context manager in which random numbers depend only on ``seed`` and ``step``; restores the state of generators.

    Seeds and restores the generators of the CPU and of ``device``, or of all GPUs if it is None, which is slow.
    """
    gpus: list[torch.device | int] = []
    if device is None:
        gpus += range(torch.cuda.device_count())
    elif device.type == "cuda":
        gpus.append(device)
    with torch.random.fork_rng(gpus):
        torch.manual_seed(mixed_seed(seed, step, "step"))
        yield


def mixed_seed(seed: int, number: int, purpose: str) -> int:
    """A seed for step or epoch ``number``; other purposes get other ones."""
    digest = hashlib.sha256(f"{purpose} {seed} {number}".encode()).digest()
    return int.from_bytes(digest[:7], "little")


def random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    """The state of the generators that :func:`seeded` seeds."""
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def set_random_state(state: tuple[Tensor, Tensor | None], device: torch.device) -> None:
    """Go back to a :func:`random_state`."""
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1], device)
