"""Disentangles directions, so that each changes the scores of the other attributes as little as possible.

Attributes are correlated in what the network has learned: the axis of a smile also changes the eyes. Orthogonal axes in
W do not prevent that, so effects are measured on pictures. Each attribute's axis is moved in the coarse, the middle and
the fine layers separately, and all scores are measured for each of these steps. Small effects are nearly additive. For
each attribute, the linear combination of steps is taken that changes its score by one standard deviation, changes the
others least, and is short. Its effect is then measured at a typical strength, and corrected in the same way.

Glasses are there or not, so the effect of a short step towards them says little about that of a long one. Such
attributes are conditions: all other axes are made orthogonal to theirs in W first (Shen et al. 2020, sec. 3.2), and
steps towards them are part of no other direction. An attribute whose axis was nearly theirs before, such as age, keeps
close to what is left of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from editing.directions.direction import Direction
from editing.directions.effects import SCALE_PROBES, Effects
from editing.directions.learning import Axis, Learner, facts_of
from editing.directions.sampling import Progress
from editing.layers import GROUPS, layer_numbers
from relatent.core.errors import UsageError
from stylegan import network_id

REGULARISATION = 0.1  # weight of the squared norm of the coefficients, relative to the squared effects on other scores
NEAR = 0.6  # absolute cosine of two axes in W; age and glasses of faces-128 have 0.74, the next pair with glasses 0.50
KEPT = 1.0  # the regularisation of attributes near a condition, towards their own axis
STRENGTH = 1.5  # at which combinations are measured, because large effects are not additive
STEP_PROBES = 48  # faces on which single steps are measured; combinations are measured on all of them
CORRECTION = 1.0  # the regularisation of the correction, which must be small: long steps leave the network's faces
CHECK_SEED = 104729  # added to the samples' seed, so that reported effects come from faces not used for fitting


def disentangled(
    learner: Learner,
    names: Sequence[str],
    *,
    free: Mapping[str, Sequence[str]] | None = None,
    conditions: Sequence[str] = (),
    ups: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> list[Direction]:
    """Directions of several attributes, each changing the others' scores as little as possible.

    Args:
        learner: fits the axes.
        names: attributes that the samples were scored for; each is disentangled from all others.
        free: for an attribute, others that may change with it, because they are partly the same movement.
        conditions: those of ``names`` that are there or not, such as glasses.
        ups: meaning of a higher score, by attribute; stored with the directions.
        progress: called with the number of faces drawn and their total; returning False cancels.

    Returns:
        A direction in W+ for each name; strength 1 changes its measured score by one standard deviation.

    Raises:
        UsageError: an attribute cannot be learned; see :meth:`editing.directions.learning.Learner.direction`.
        Cancelled: ``progress`` returned False.
    """
    deviations = np.array([learner.samples.deviation(name) for name in names])
    conditions = [name for name in names if name in conditions]
    steps, sources = _steps(learner, names, conditions)
    planned = 2 * (STEP_PROBES * len(steps) + SCALE_PROBES * len(names))
    effects = Effects(learner.network, learner.samples, learner.scores, progress, planned=planned)
    allowed = [{names.index(other) for other in (free or {}).get(name, ()) if other in names} for name in names]
    moved = _measured(effects, steps, names, STEP_PROBES) / deviations
    usable = _usable(names, sources, conditions)
    start = _own_axes(names, sources, moved) * _near_conditions(learner, names, conditions)[:, None]
    regularisation = np.where(start.any(axis=1), KEPT, REGULARISATION)
    combined = _combine(steps, moved, allowed, usable, regularisation, start)
    moved = _measured(effects, STRENGTH * combined, names, SCALE_PROBES) / deviations / STRENGTH
    usable = _usable(names, names, conditions)
    combined = _combine(combined, moved, allowed, usable, np.full(len(names), CORRECTION), np.eye(len(names)))
    return [
        _direction(learner, name, step, names, conditions, up=(ups or {}).get(name, ""))
        for name, step in zip(names, combined, strict=True)
    ]


def _steps(learner: Learner, names: Sequence[str], conditions: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Each attribute's axis in each group of layers, scaled to one standard deviation of w along it.

    Returns:
        Steps [S, L, w_dim], and of which attribute each is.
    """
    num_ws = learner.network.num_ws
    groups = [layer_numbers(group, num_ws) for group in GROUPS if group != "all" and _exists(group, num_ws)]
    w = learner.samples.w.numpy()
    steps, sources = [], []
    for name in names:
        normal = _axis(learner, name, conditions).normal
        for layers in groups:
            step = np.zeros((num_ws, len(normal)))
            step[list(layers)] = normal * float((w @ normal).std())
            steps.append(step)
            sources.append(name)
    return np.stack(steps), sources


def _axis(learner: Learner, name: str, conditions: Sequence[str]) -> Axis:
    """An attribute's axis, orthogonal to those of the conditions unless it is one itself."""
    return learner.axis(name, () if name in conditions else conditions)


def _usable(names: Sequence[str], sources: Sequence[str], conditions: Sequence[str]) -> np.ndarray:
    """Whether a direction may use a step, bool [names, S]: steps towards conditions are for those alone."""
    return np.isin(names, conditions)[:, None] | ~np.isin(sources, conditions)


def _near_conditions(learner: Learner, names: Sequence[str], conditions: Sequence[str]) -> np.ndarray:
    """Which attributes' axes are nearly a condition's, bool [names]."""

    def near(name: str) -> bool:
        cosines = [learner.axis(name).normal @ learner.axis(other).normal for other in conditions]
        return name not in conditions and any(abs(cosine) > NEAR for cosine in cosines)

    return np.array([near(name) for name in names])


def _own_axes(names: Sequence[str], sources: Sequence[str], moved: np.ndarray) -> np.ndarray:
    """Coefficients [names, S] of an attribute's own steps that change its score by 1; 0 where they do not raise it."""
    own = np.array(names)[:, None] == np.array(sources)[None]
    effect = (own * moved.T).sum(axis=1, keepdims=True)
    return np.divide(own, effect, out=np.zeros(own.shape), where=effect > 0)


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
    usable: np.ndarray,
    regularisation: np.ndarray,
    start: np.ndarray,
) -> np.ndarray:
    """For each score, the linear combination of steps that changes it by 1 and the others least; [names, L, w_dim].

    With effects E [S, names] of the ``usable`` steps, the coefficients c minimise |c E|^2 over the other scores, except
    those ``allowed`` to change, plus regularisation [names] times |c - start|^2 with start [names, S], subject to
    c E = 1 at the score itself.

    Raises:
        UsageError: no step changes the score.
    """
    combined = []
    for own in range(moved.shape[1]):
        others = [other for other in range(moved.shape[1]) if other != own and other not in allowed[own]]
        kept = usable[own]
        effects = moved[kept]
        metric = effects[:, others] @ effects[:, others].T + regularisation[own] * np.eye(len(effects))
        begin = np.linalg.solve(metric, regularisation[own] * start[own, kept])
        towards = np.linalg.solve(metric, effects[:, own])
        reach = float(effects[:, own] @ towards)
        if reach <= 1e-6:
            raise UsageError("no step moves one of the scores; this network does not follow it. Leave it out.")
        coefficients = begin + towards * (1 - float(effects[:, own] @ begin)) / reach
        combined.append(np.tensordot(coefficients, steps[kept], 1))
    return np.stack(combined)


def _direction(
    learner: Learner, name: str, step: np.ndarray, names: Sequence[str], conditions: Sequence[str], up: str
) -> Direction:
    samples = learner.samples
    effects = Effects(learner.network, samples, learner.scores, seed=samples.seed + CHECK_SEED)
    deviation = samples.deviation(name)
    vector, measured = effects.scaled(step, range(learner.network.num_ws), name, deviation)
    axis = _axis(learner, name, conditions)
    others = ", ".join(other for other in names if other != name)
    return Direction(
        vector=torch.from_numpy(vector).float(),
        name=name,
        network=network_id(learner.network),
        space="w+",
        source=f"interfacegan: {axis.method} on the extreme fifths of {len(samples.w)} samples, seed {samples.seed}, "
        f"disentangled by measured effects from {others}"
        + (f", orthogonal to {', '.join(axis.without)}" if axis.without else ""),
        unit=f"one standard deviation of the score ({deviation:.4g}) over {len(samples.w)} samples at psi 1",
        facts=facts_of(axis, measured, name, up, samples),
    )
