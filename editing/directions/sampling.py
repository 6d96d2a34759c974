"""Draws random faces and scores them, to learn directions from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from editing.attributes.scores import Score
from relatent.core.errors import Cancelled, ShapeError, UsageError
from relatent.core.images import to_pixels
from stylegan import network_id
from stylegan.networks.generator import Generator

SAMPLES = 10_000  # what a direction's unit is measured on, see docs/conventions.md
BATCH = 32  # faces drawn together
LEAST_SAMPLES = 100  # enough for learning's LEAST_EACH at both ends
Progress = Callable[[int, int], object]  # called with the number done and the total; returning False cancels


@dataclass(frozen=True)
class Samples:
    """Random latents of one network and the scores of their faces.

    Attributes:
        network: its id.
        w: float32 [N, w_dim], at psi 1.
        scores: float64 [N] by attribute, NaN where unknown.
        seed: of the latents.
    """

    network: str
    w: Tensor
    scores: dict[str, np.ndarray]
    seed: int

    def deviation(self, name: str) -> float:
        """The standard deviation of the known values of a score, the unit of strength.

        Raises:
            UsageError: too few known values, or all of them equal.
        """
        known = self.scores[name][np.isfinite(self.scores[name])]
        if len(known) < LEAST_SAMPLES // 2:
            raise UsageError(
                f"only {len(known)} of {len(self.w)} faces could be scored for {name!r}. "
                "Draw more with --samples, or check that the network draws faces."
            )
        deviation = float(known.std())
        if deviation <= 1e-9 * max(1.0, float(np.abs(known).max())):
            raise UsageError(f"every face scores the same for {name!r}; there is nothing to learn from.")
        return deviation


@torch.no_grad()
def sample_scores(
    network: Generator,
    scores: Mapping[str, Score],
    count: int = SAMPLES,
    *,
    seed: int = 0,
    batch_size: int = BATCH,
    progress: Progress | None = None,
) -> Samples:
    """Draw ``count`` random faces at psi 1 with the network's own noise, and score each once.

    Args:
        network: the generator.
        scores: scoring functions by attribute.
        count: number of faces; the pictures are not kept.
        seed: of the latents.
        batch_size: pictures drawn together.
        progress: see :data:`Progress`.

    Raises:
        UsageError: fewer than LEAST_SAMPLES.
        ShapeError: a scoring function does not return one number for each picture.
        Cancelled: ``progress`` returned False.
    """
    if count < LEAST_SAMPLES:
        raise UsageError(f"{count} samples were asked for; expected at least {LEAST_SAMPLES}.")
    w = network.sample_w(count, seed)
    batches: dict[str, list[np.ndarray]] = {name: [] for name in scores}
    for first, pictures in draw_batches(network, w, batch_size):
        for name, values in score_pictures(pictures, scores).items():
            batches[name].append(values)
        report(progress, min(first + batch_size, count), count)
    scored = {name: np.concatenate(values) for name, values in batches.items()}
    return Samples(network_id(network), w.float().cpu(), scored, seed)


def score_pictures(pictures: np.ndarray, scores: Mapping[str, Score]) -> dict[str, np.ndarray]:
    """Scores of pictures uint8 [N, R, R, 3], float64 [N] by attribute.

    Raises:
        ShapeError: a scoring function does not return one number for each picture.
    """
    values = {}
    for name, score in scores.items():
        values[name] = np.asarray(score(pictures), np.float64)
        if values[name].shape != (len(pictures),):
            raise ShapeError(
                f"the score {name!r} answered {list(values[name].shape)} for {len(pictures)} pictures; "
                "expected one number each."
            )
    return values


def score_latents(
    network: Generator, ws: Tensor, scores: Mapping[str, Score], batch_size: int = BATCH
) -> dict[str, np.ndarray]:
    """Scores of the faces of ws [N, L, w_dim], float64 [N] by attribute."""
    batches = [score_pictures(pictures, scores) for _, pictures in draw_batches(network, ws, batch_size)]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in scores}


def report(progress: Progress | None, done: int, total: int) -> None:
    """Call ``progress``.

    Raises:
        Cancelled: it returned False.
    """
    if progress is not None and progress(done, total) is False:
        raise Cancelled("cancelled; nothing was written.")


@torch.no_grad()
def draw_batches(network: Generator, latents: Tensor, batch_size: int = BATCH) -> Iterator[tuple[int, np.ndarray]]:
    """Draw w [N, w_dim] or ws [N, L, w_dim] with the network's noise; yields each batch's first index and pictures.

    Pictures are uint8 [n, R, R, 3].
    """
    for first in range(0, len(latents), batch_size):
        part = latents[first : first + batch_size].to(network.w_avg.device)
        ws = part if part.ndim == 3 else part[:, None].expand(-1, network.num_ws, -1)
        yield first, to_pixels(network.synthesis(ws))
