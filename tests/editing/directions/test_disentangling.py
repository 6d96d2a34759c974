"""Directions made of measured effects: each moves its own score, and the others only where they may."""

import numpy as np
import pytest
import torch
from planted import NUM_WS, blueness, brightness, planted_generator

from editing.directions.disentangling import _combine, disentangled
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


def test_the_best_sum_in_closed_form():
    """Two steps whose effects are known: the sum that moves only the first score is their inverse's first row."""
    effects = np.array([[1.0, 0.5], [0.2, 1.0]])
    steps = np.eye(2)[:, None]  # [2, 1, 2]: a step is named by its number
    sums = _combine(steps, effects, [set(), set()], 0.01)[:, 0]
    np.testing.assert_allclose(np.diag(sums @ effects), 1)
    assert abs(sums[0] @ effects[:, 1]) < 0.05  # it was 0.5
    assert abs(sums[1] @ effects[:, 0]) < 0.05


def test_a_score_that_nothing_moves_is_refused():
    with pytest.raises(UsageError, match="no step moves"):
        _combine(np.eye(2)[:, None], np.array([[1.0, 0.0], [1.0, 0.0]]), [set(), set()], 0.1)


def test_progress_can_stop_it_and_counts_to_the_end(teacher):
    told = []
    disentangled(teacher, list(SCORES), progress=lambda *now: told.append(now))
    assert told[-1][0] == told[-1][1]
    with pytest.raises(Cancelled):
        disentangled(teacher, list(SCORES), progress=lambda done, total: False)
