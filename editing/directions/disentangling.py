"""Directions that leave one another's attributes alone, as far as their pictures show.

An axis that parts smiling faces from others moves the eyes along, since the two went together in what the network
learnt; and axes that are orthogonal in W may still move the same thing in pictures. So effects are measured: every
attribute's axis is moved at the coarse, the middle and the fine layers, and every score is taken each time. Effects of
small steps add up. Of all sums of these steps that move one score by a deviation, the one is taken that moves the
others least and is not long; then its own effect is measured, at about the strength people use, and corrected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from editing.directions.direction import Direction
from editing.directions.effects import SCALE_PROBES, Effects
from editing.directions.learning import Learner, facts_of
from editing.directions.sampling import Progress
from editing.layers import GROUPS, layer_numbers
from relatent.core.errors import UsageError
from stylegan import network_id

STIFFNESS = 0.1  # how much the squared length of a sum counts beside the squares of what else it moves
STRENGTH = 1.5  # at which sums are measured: effects of small steps add up, those of large ones bend
STEP_PROBES = 32  # faces that single steps are measured on; sums are measured on all of them
CORRECTION = 1.0  # the same when sums are corrected: little, as long sums leave the faces that the network can draw
CHECK_SEED = 104729  # added to the samples' seed: what is told of a direction comes from faces it was not made on


def disentangled(
    learner: Learner,
    names: Sequence[str],
    *,
    free: Mapping[str, Sequence[str]] | None = None,
    ups: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> list[Direction]:
    """Directions of several attributes, each moving the others' scores as little as can be.

    Args:
        learner: what fits the axes.
        names: attributes that the samples were scored for; each is kept apart from all others.
        free: for an attribute, others that may move with it, being partly the same movement.
        ups: what a higher score means, by attribute; kept with the directions.
        progress: counts faces drawn.

    Returns:
        A direction in W+ for each name; strength 1 moves its score by one standard deviation, measured.

    Raises:
        UsageError: an attribute that cannot be learned; see :meth:`editing.directions.learning.Learner.direction`.
        Cancelled: ``progress`` returned False.
    """
    deviations = np.array([learner.samples.deviation(name) for name in names])
    steps = _steps(learner, names)
    planned = 2 * (STEP_PROBES * len(steps) + SCALE_PROBES * len(names))
    effects = Effects(learner.network, learner.samples, learner.scores, progress, planned=planned)
    allowed = [{names.index(other) for other in (free or {}).get(name, ()) if other in names} for name in names]
    moved = _measured(effects, steps, names, STEP_PROBES) / deviations
    sums = _purest(steps, moved, allowed, STIFFNESS)
    moved = _measured(effects, STRENGTH * sums, names, SCALE_PROBES) / deviations / STRENGTH
    sums = _purest(sums, moved, allowed, CORRECTION, start=np.eye(len(names)))
    return [
        _direction(learner, name, step, names, up=(ups or {}).get(name, ""))
        for name, step in zip(names, sums, strict=True)
    ]


def _steps(learner: Learner, names: Sequence[str]) -> np.ndarray:
    """Each attribute's axis at each group of layers, one deviation of w along it long; [S, L, w_dim]."""
    num_ws = learner.network.num_ws
    groups = [layer_numbers(group, num_ws) for group in GROUPS if group != "all" and _exists(group, num_ws)]
    w = learner.samples.w.numpy()
    steps = []
    for name in names:
        normal = learner.axis(name).normal
        for layers in groups:
            step = np.zeros((num_ws, len(normal)))
            step[list(layers)] = normal * float((w @ normal).std())
            steps.append(step)
    return np.stack(steps)


def _exists(group: str, num_ws: int) -> bool:
    try:
        return bool(layer_numbers(group, num_ws))
    except UsageError:  # a small network has no fine layers
        return False


def _measured(effects: Effects, steps: np.ndarray, names: Sequence[str], faces: int) -> np.ndarray:
    """What each step [L, w_dim] moves each score by, in its own unit; [S, names]."""
    every = range(steps.shape[1])
    scores = {name: effects.scores[name] for name in names}
    moved = [effects.moved(effects.ws[:faces], step, every, scores) for step in steps]
    return np.nan_to_num(np.array([[one[name] for name in names] for one in moved]))


def _purest(
    steps: np.ndarray,
    moved: np.ndarray,
    allowed: Sequence[set[int]],
    stiffness: float,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """For each score, the sum of steps that moves it by 1 and the others least; [names, L, w_dim].

    With effects E [S, names], the coefficients c minimise |c E|^2 over the other scores + stiffness |c - start|^2,
    while c E is 1 at the score itself.

    Raises:
        UsageError: no sum moves it.
    """
    sums = []
    for own in range(moved.shape[1]):
        others = [other for other in range(moved.shape[1]) if other != own and other not in allowed[own]]
        metric = moved[:, others] @ moved[:, others].T + stiffness * np.eye(len(moved))
        begin = np.zeros(len(moved)) if start is None else np.linalg.solve(metric, stiffness * start[own])
        towards = np.linalg.solve(metric, moved[:, own])
        reach = float(moved[:, own] @ towards)
        if reach <= 1e-6:
            raise UsageError("no step moves one of the scores; this network does not follow it. Leave it out.")
        coefficients = begin + towards * (1 - float(moved[:, own] @ begin)) / reach
        sums.append(np.tensordot(coefficients, steps, 1))
    return np.stack(sums)


def _direction(learner: Learner, name: str, step: np.ndarray, names: Sequence[str], up: str) -> Direction:
    samples = learner.samples
    effects = Effects(learner.network, samples, learner.scores, seed=samples.seed + CHECK_SEED)
    deviation = samples.deviation(name)
    vector, measured = effects.scaled(step, range(learner.network.num_ws), name, deviation)
    axis = learner.axis(name)
    others = ", ".join(other for other in names if other != name)
    return Direction(
        vector=torch.from_numpy(vector).float(),
        name=name,
        network=network_id(learner.network),
        space="w+",
        source=f"interfacegan: {axis.method} on the extreme fifths of {len(samples.w)} samples, seed {samples.seed}, "
        f"disentangled by measured effects from {others}",
        unit=f"one standard deviation of the score ({deviation:.4g}) over {len(samples.w)} samples at psi 1",
        facts=facts_of(axis, measured, name, up, samples),
    )
