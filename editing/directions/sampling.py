"""Faces drawn at random and scored once, for every direction that is learned from them."""

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
Progress = Callable[[int, int], object]  # done and in all; False stops


@dataclass(frozen=True)
class Samples:
    """Random latents of one network and what their faces score.

    Attributes:
        network: its id.
        w: float32 [N, w_dim], at psi 1.
        scores: float64 [N] by attribute, NaN where unknown.
        seed: where they came from.
    """

    network: str
    w: Tensor
    scores: dict[str, np.ndarray]
    seed: int

    def deviation(self, name: str) -> float:
        """One standard deviation of a score, leaving unknown ones out: what strength 1 moves it by.

        Raises:
            UsageError: the score is unknown nearly everywhere, or the same for every face.
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
        network: what draws.
        scores: by attribute.
        count: how many; pictures are forgotten as soon as they are scored.
        seed: of the latents.
        batch_size: pictures drawn together.
        progress: see :data:`Progress`.

    Raises:
        UsageError: too few to learn from.
        ShapeError: a score that does not answer one number a picture.
        Cancelled: ``progress`` returned False.
    """
    if count < LEAST_SAMPLES:
        raise UsageError(f"{count} samples were asked for; expected at least {LEAST_SAMPLES}.")
    w = network.sample_w(count, seed)
    found: dict[str, list[np.ndarray]] = {name: [] for name in scores}
    for first, pictures in draw_batches(network, w, batch_size):
        for name, values in score_pictures(pictures, scores).items():
            found[name].append(values)
        report(progress, min(first + batch_size, count), count)
    together = {name: np.concatenate(values) for name, values in found.items()}
    return Samples(network_id(network), w.float().cpu(), together, seed)


def score_pictures(pictures: np.ndarray, scores: Mapping[str, Score]) -> dict[str, np.ndarray]:
    """What pictures uint8 [N, R, R, 3] score, float64 [N] by attribute.

    Raises:
        ShapeError: a score that does not answer one number a picture.
    """
    found = {}
    for name, score in scores.items():
        found[name] = np.asarray(score(pictures), np.float64)
        if found[name].shape != (len(pictures),):
            raise ShapeError(
                f"the score {name!r} answered {list(found[name].shape)} for {len(pictures)} pictures; "
                "expected one number each."
            )
    return found


def score_latents(
    network: Generator, ws: Tensor, scores: Mapping[str, Score], batch_size: int = BATCH
) -> dict[str, np.ndarray]:
    """What the faces of ws [N, L, w_dim] score, float64 [N] by attribute."""
    found = [score_pictures(pictures, scores) for _, pictures in draw_batches(network, ws, batch_size)]
    return {name: np.concatenate([one[name] for one in found]) for name in scores}


def report(progress: Progress | None, done: int, total: int) -> None:
    """Tell how far the work is.

    Raises:
        Cancelled: the listener wants no more.
    """
    if progress is not None and progress(done, total) is False:
        raise Cancelled("cancelled; nothing was written.")


@torch.no_grad()
def draw_batches(network: Generator, latents: Tensor, batch_size: int = BATCH) -> Iterator[tuple[int, np.ndarray]]:
    """Number of the first and uint8 [n, R, R, 3] of w [N, w_dim] or ws [N, L, w_dim], batch by batch, own noise."""
    for first in range(0, len(latents), batch_size):
        part = latents[first : first + batch_size].to(network.w_avg.device)
        ws = part if part.ndim == 3 else part[:, None].expand(-1, network.num_ws, -1)
        yield first, to_pixels(network.synthesis(ws))
