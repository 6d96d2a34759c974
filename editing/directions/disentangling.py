"""Disentangles directions, so that each changes the scores of the other attributes as little as possible.

Attributes are correlated in what the network has learned: the axis of a smile also changes the eyes. Orthogonal axes in
W do not prevent that, so effects are measured on pictures. Each attribute's axis is moved in the coarse, the middle and
the fine layers separately, and all scores are measured for each of these steps. Small effects are nearly additive. For
each attribute, the linear combination of steps is taken that changes its score by one standard deviation, changes the
others least, and is short. Its effect is then measured at a typical strength, and corrected in the same way.
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

REGULARISATION = 0.1  # weight of the squared norm of the coefficients, relative to the squared effects on other scores
STRENGTH = 1.5  # at which combinations are measured, because large effects are not additive
STEP_PROBES = 32  # faces on which single steps are measured; combinations are measured on all of them
CORRECTION = 1.0  # the regularisation of the correction, which must be small: long steps leave the network's faces
CHECK_SEED = 104729  # added to the samples' seed, so that reported effects come from faces not used for fitting


def disentangled(
    learner: Learner,
    names: Sequence[str],
    *,
    free: Mapping[str, Sequence[str]] | None = None,
    ups: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> list[Direction]:
    """Directions of several attributes, each changing the others' scores as little as possible.

    Args:
        learner: fits the axes.
        names: attributes that the samples were scored for; each is disentangled from all others.
        free: for an attribute, others that may change with it, because they are partly the same movement.
        ups: meaning of a higher score, by attribute; stored with the directions.
        progress: called with the number of faces drawn and their total; returning False cancels.

    Returns:
        A direction in W+ for each name; strength 1 changes its measured score by one standard deviation.

    Raises:
        UsageError: an attribute cannot be learned; see :meth:`editing.directions.learning.Learner.direction`.
        Cancelled: ``progress`` returned False.
    """
    deviations = np.array([learner.samples.deviation(name) for name in names])
    steps = _steps(learner, names)
    planned = 2 * (STEP_PROBES * len(steps) + SCALE_PROBES * len(names))
    effects = Effects(learner.network, learner.samples, learner.scores, progress, planned=planned)
    allowed = [{names.index(other) for other in (free or {}).get(name, ()) if other in names} for name in names]
    moved = _measured(effects, steps, names, STEP_PROBES) / deviations
    combined = _combine(steps, moved, allowed, REGULARISATION)
    moved = _measured(effects, STRENGTH * combined, names, SCALE_PROBES) / deviations / STRENGTH
    combined = _combine(combined, moved, allowed, CORRECTION, start=np.eye(len(names)))
    return [
        _direction(learner, name, step, names, up=(ups or {}).get(name, ""))
        for name, step in zip(names, combined, strict=True)
    ]


def _steps(learner: Learner, names: Sequence[str]) -> np.ndarray:
    """Each attribute's axis in each group of layers, scaled to one standard deviation of w along it; [S, L, w_dim]."""
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
    except UsageError:  # small networks have no fine layers
        return False


def _measured(effects: Effects, steps: np.ndarray, names: Sequence[str], faces: int) -> np.ndarray:
    """The effect of each step [L, w_dim] on each score, in the score's unit; [S, names]."""
    layers = range(steps.shape[1])
    scores = {name: effects.scores[name] for name in names}
    moved = [effects.moved(effects.ws[:faces], step, layers, scores) for step in steps]
    return np.nan_to_num(np.array([[one[name] for name in names] for one in moved]))


def _combine(
    steps: np.ndarray,
    moved: np.ndarray,
    allowed: Sequence[set[int]],
    regularisation: float,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """For each score, the linear combination of steps that changes it by 1 and the others least; [names, L, w_dim].

    With effects E [S, names], the coefficients c minimise |c E|^2 over the other scores, except those ``allowed`` to
    change, plus regularisation |c - start|^2, subject to c E = 1 at the score itself.

    Raises:
        UsageError: no step changes the score.
    """
    combined = []
    for own in range(moved.shape[1]):
        others = [other for other in range(moved.shape[1]) if other != own and other not in allowed[own]]
        metric = moved[:, others] @ moved[:, others].T + regularisation * np.eye(len(moved))
        begin = np.zeros(len(moved)) if start is None else np.linalg.solve(metric, regularisation * start[own])
        towards = np.linalg.solve(metric, moved[:, own])
        reach = float(moved[:, own] @ towards)
        if reach <= 1e-6:
            raise UsageError("no step moves one of the scores; this network does not follow it. Leave it out.")
        coefficients = begin + towards * (1 - float(moved[:, own] @ begin)) / reach
        combined.append(np.tensordot(coefficients, steps, 1))
    return np.stack(combined)


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
