"""Directions made of measured effects: each moves its own score, and the others only where they may."""

import numpy as np
import pytest
import torch
from planted import NUM_WS, blueness, brightness, planted_generator

from editing.directions.disentangling import _combine, _near_conditions, _own_axes, _usable, disentangled
from editing.directions.learning import Learner
from editing.directions.sampling import sample_scores, score_latents
from relatent.core.errors import Cancelled, UsageError


def both(pictures):
    """Goes along with brightness and blueness alike."""
    return brightness(pictures) + blueness(pictures)


SCORES = {"brightness": brightness, "both": both}


@pytest.fixture(scope="module")
def teacher():
    generator, _, _ = planted_generator(overlap=0.3)
    samples = sample_scores(generator, SCORES, 1000, batch_size=250)
    return Learner(generator, samples, SCORES)


def movement(teacher, direction, strength=1.0):
    """What a strength moves each score by, in its deviations, over fresh faces."""
    ws = teacher.network.sample_w(200, 77)[:, None].repeat(1, NUM_WS, 1)
    scores = {**SCORES, "blueness": blueness}
    before, after = (score_latents(teacher.network, one, scores) for one in (ws, direction.apply(ws, strength)))
    deviations = {**{name: teacher.samples.deviation(name) for name in SCORES}, "blueness": before["blueness"].std()}
    return {name: float((after[name] - before[name]).mean() / deviations[name]) for name in scores}


def test_each_moves_its_own_score_and_not_the_other(teacher):
    entangled = teacher.direction("both")
    assert abs(movement(teacher, entangled)["brightness"]) > 0.3
    for direction in disentangled(teacher, list(SCORES)):
        moved = movement(teacher, direction)
        assert moved.pop(direction.name) == pytest.approx(1, abs=0.12)
        moved.pop("blueness")
        assert abs(next(iter(moved.values()))) < 0.15
        assert direction.space == "w+"
        assert direction.vector.shape == (NUM_WS, teacher.samples.w.shape[1])
        assert direction.facts["effect"] == pytest.approx(1, abs=0.1)
        assert "disentangled by measured effects" in direction.source


def test_what_may_move_along_does(teacher):
    """Where brightness may follow, the short way is taken; where it may not, only blue is left to move both."""
    strict = disentangled(teacher, list(SCORES))[1]
    loose = disentangled(teacher, list(SCORES), free={"both": ["brightness"]})[1]
    assert abs(movement(teacher, strict)["brightness"]) < 0.15
    assert movement(teacher, loose)["brightness"] > 0.2
    assert torch.linalg.vector_norm(loose.vector) < torch.linalg.vector_norm(strict.vector)


def combined(effects, usable=None, start=None, regularisation=0.01):
    """Coefficients [2, 2] of two steps, neither score being allowed to change with the other."""
    usable = np.ones((2, 2), bool) if usable is None else usable
    start = np.zeros((2, 2)) if start is None else start
    steps = np.eye(2)[:, None]  # [2, 1, 2]: a step is named by its number
    return _combine(steps, effects, [set(), set()], usable, np.full(2, regularisation), start)[:, 0]


def test_the_best_sum_in_closed_form():
    """Two steps whose effects are known: the sum that moves only the first score is their inverse's first row."""
    effects = np.array([[1.0, 0.5], [0.2, 1.0]])
    sums = combined(effects)
    np.testing.assert_allclose(np.diag(sums @ effects), 1)
    assert abs(sums[0] @ effects[:, 1]) < 0.05  # it was 0.5
    assert abs(sums[1] @ effects[:, 0]) < 0.05


def test_steps_towards_a_condition_are_for_it_alone(teacher):
    """What is there or not is not reached by half: others leave its axis alone, whatever was measured."""
    effects, usable = np.array([[1.0, 0.5], [0.2, 1.0]]), _usable(["a", "b"], ["a", "b"], ["a"])
    assert usable.tolist() == [[True, True], [False, True]]
    sums = combined(effects, usable)
    assert sums[1, 0] == 0
    assert sums[0, 1] != 0
    condition, both = disentangled(teacher, list(SCORES), conditions=["brightness"])
    assert both.source.endswith("orthogonal to brightness")
    assert "orthogonal" not in condition.source
    axis = torch.from_numpy(teacher.axis("brightness").normal).float()
    assert (both.vector @ axis).abs().max() < 1e-4 * both.vector.norm()
    assert (condition.vector @ axis).abs().max() > 0.1 * condition.vector.norm()


def test_an_axis_near_a_condition_is_kept(teacher):
    effects = np.array([[2.0, 0.5], [0.2, 1.0], [2.0, 1.0]])
    start = _own_axes(["a", "b"], ["a", "b", "a"], effects)
    np.testing.assert_allclose(start, [[0.25, 0, 0.25], [0, 1, 0]])  # the two steps of a move it by 4
    effects = np.array([[1.0, 0.5], [0.2, 1.0]])
    own = _own_axes(["a", "b"], ["a", "b"], effects)
    np.testing.assert_allclose(combined(effects, start=own, regularisation=1e6), np.eye(2), atol=1e-5)
    # "both" is brightness and blueness, and the two are planted with an overlap of 0.3
    cosine = abs(teacher.axis("both").normal @ teacher.axis("brightness").normal)
    assert _near_conditions(teacher, ["brightness", "both"], ["brightness"]).tolist() == [False, cosine > 0.6]
    assert cosine > 0.6


def test_a_score_that_nothing_moves_is_refused():
    with pytest.raises(UsageError, match="no step moves"):
        combined(np.array([[1.0, 0.0], [1.0, 0.0]]))


def test_progress_can_stop_it_and_counts_to_the_end(teacher):
    told = []
    disentangled(teacher, list(SCORES), progress=lambda *now: told.append(now))
    assert told[-1][0] == told[-1][1]
    with pytest.raises(Cancelled):
        disentangled(teacher, list(SCORES), progress=lambda done, total: False)
