"""Measures the effect of a step in latent space on the scores of pictures, by layer and by length."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from editing.attributes.scores import Score
from editing.directions.sampling import Progress, Samples, report, score_latents
from relatent.core.errors import UsageError
from stylegan.networks.generator import Generator

PROBE_SEED = 7919  # added to the samples' seed, so that effects are measured on faces not used for fitting
LAYER_PROBES, SCALE_PROBES = 24, 64  # faces
KEPT_EFFECT = 0.9  # share of the strongest range's effect that the chosen layers must keep
LEAST_EFFECT = 0.05  # standard deviations of the score for one of w's; less is called no effect
TOLERANCE = 0.1  # standard deviations by which the effect of strength 1 may differ from one
ATTEMPTS = 4  # of the search for the scale, at most


class Effects:
    """Measures effects of steps on the scores of faces that were not used for fitting.

    An effect is the difference between the same face moved forwards and backwards, so the face itself cancels out.
    """

    def __init__(
        self,
        network: Generator,
        samples: Samples,
        scores: Mapping[str, Score],
        progress: Progress | None = None,
        *,
        planned: int | None = None,  # total for ``progress``, in faces; None for that of `by_layer` and `scaled`
        seed: int | None = None,  # of the faces; None for one derived from the samples' seed
    ) -> None:
        self.network, self.samples, self.scores, self.progress = network, samples, scores, progress
        # the maximum: fewer are drawn if the length is found after fewer attempts
        self.planned = planned or 2 * (LAYER_PROBES * network.num_ws + SCALE_PROBES * ATTEMPTS)
        with torch.no_grad():
            probes = network.sample_w(SCALE_PROBES, samples.seed + PROBE_SEED if seed is None else seed).float().cpu()
        self.ws = probes[:, None].repeat(1, network.num_ws, 1)  # [SCALE_PROBES, L, w_dim]
        self._drawn = 0

    def by_layer(self, step: np.ndarray, name: str, deviation: float) -> list[float]:
        """Effect of the step in each single layer, in standard deviations of the score, [L]."""
        ws, score = self.ws[:LAYER_PROBES], {name: self.scores[name]}
        return [self.moved(ws, step, [layer], score)[name] / deviation for layer in range(self.network.num_ws)]

    def scaled(
        self, step: np.ndarray, layers: Sequence[int], name: str, deviation: float
    ) -> tuple[np.ndarray, dict[str, float]]:
        """The step scaled to change the score by one standard deviation, and its effect on every score.

        Effects saturate for large steps, so the length is corrected and measured again, up to ATTEMPTS times.

        Raises:
            UsageError: the step does not change the score.
        """
        measured: dict[str, float] = {}
        for attempt in range(ATTEMPTS):
            measured = self.moved(self.ws, step, layers, self.scores)
            effect = measured[name] / deviation
            if not math.isfinite(effect) or effect < LEAST_EFFECT:
                raise UsageError(
                    f"moving along the axis of {name!r} changes its score by {effect:.2f} standard deviations only; "
                    "this network does not follow it. Try more --samples, all layers, or another score."
                )
            if abs(effect - 1) <= TOLERANCE or attempt == ATTEMPTS - 1:
                break
            step = step * min(max(1 / effect, 0.25), 4.0)
        return step, self._in_deviations(measured)

    def moved(
        self, ws: Tensor, step: np.ndarray, layers: Sequence[int], scores: Mapping[str, Score]
    ) -> dict[str, float]:
        """Half the mean difference between faces moved forwards and backwards, in each score's own unit."""
        move = torch.zeros(ws.shape[1:])
        move[list(layers)] = torch.from_numpy(step).float()
        forwards = score_latents(self.network, ws + move, scores)
        backwards = score_latents(self.network, ws - move, scores)
        self._drawn += 2 * len(ws)
        report(self.progress, self._drawn, self.planned)
        return {name: known_mean(forwards[name] - backwards[name]) / 2 for name in scores}

    def _in_deviations(self, measured: Mapping[str, float]) -> dict[str, float]:
        """Effects in standard deviations of each score; scores without a deviation are left out."""
        effects = {}
        for name, moved in measured.items():
            with suppress(UsageError):
                effects[name] = moved / self.samples.deviation(name)
        return effects


def strongest_range(effects: Sequence[float]) -> tuple[int, ...]:
    """The shortest range of layers with at least 90% of the effect of the strongest range.

    Layers that contribute little to the attribute would only change others. If no range has an effect, all layers.
    """
    runs = [(a, b) for a in range(len(effects)) for b in range(a + 1, len(effects) + 1)]
    sums = {(a, b): float(np.nansum(effects[a:b])) for a, b in runs}
    if max(sums.values()) <= 0:
        return tuple(range(len(effects)))
    enough = KEPT_EFFECT * max(sums.values())
    first, end = min((run for run in runs if sums[run] >= enough), key=lambda run: (run[1] - run[0], -sums[run]))
    return tuple(range(first, end))


def known_mean(values: np.ndarray) -> float:
    """The mean of the finite values; NaN if there are none."""
    known = values if values.dtype == bool else values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan
