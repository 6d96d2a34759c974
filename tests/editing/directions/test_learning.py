"""A planted axis is found, in its layer, at its length, and apart from its neighbour."""

import numpy as np
import pytest
import torch
from planted import BLUE_LAYER, BRIGHT_LAYER, NUM_WS, blueness, brightness, planted_generator

from editing.directions.effects import strongest_range
from editing.directions.learning import Learner, fit_axis
from editing.directions.sampling import sample_scores, score_latents
from relatent.core.errors import Cancelled, ShapeError, UnknownNameError, UsageError

SCORES = {"brightness": brightness, "blueness": blueness}


def learner(overlap=0.0, method="svm", count=1000, scores=SCORES, seed=0):
    generator, bright, blue = planted_generator(overlap)
    samples = sample_scores(generator, scores, count, seed=seed, batch_size=250)
    return Learner(generator, samples, scores, method), bright, blue


@pytest.mark.parametrize("method", ["svm", "ridge"])
def test_the_planted_axis_is_found(method):
    teacher, bright, _ = learner(method=method)
    axis = teacher.axis("brightness")
    assert axis.normal @ bright > 0.97
    assert np.linalg.norm(axis.normal) == pytest.approx(1)
    assert axis.accuracy > 0.97
    assert axis.correlation > 0.95


def test_the_axis_is_found_where_half_the_scores_are_unknown():
    def sometimes(pictures):
        found = brightness(pictures)
        found[::2] = np.nan
        return found

    teacher, bright, _ = learner(scores={"brightness": sometimes})
    assert teacher.axis("brightness").normal @ bright > 0.95


def test_a_score_of_two_values_is_learned_from_its_ends():
    """Nine in ten faces score 0: quantiles alone would not part them."""
    teacher, bright, _ = learner(scores={"lit": lambda pictures: (brightness(pictures) > 144).astype(float)})
    assert 0.02 < teacher.samples.scores["lit"].mean() < 0.2
    assert teacher.axis("lit").normal @ bright > 0.8


def test_the_layer_that_carries_the_effect_is_chosen():
    teacher, _, _ = learner()
    assert teacher.direction("brightness").layers == (BRIGHT_LAYER,)
    assert teacher.direction("blueness").layers == (BLUE_LAYER,)


def test_strength_1_moves_the_score_by_one_standard_deviation():
    teacher, _, _ = learner()
    direction = teacher.direction("brightness", up="lighter")
    ws = teacher.network.sample_w(200, 77)[:, None].repeat(1, NUM_WS, 1)
    before = score_latents(teacher.network, ws, SCORES)["brightness"]
    after = score_latents(teacher.network, direction.apply(ws, 1.0), SCORES)["brightness"]
    assert (after - before).mean() == pytest.approx(teacher.samples.scores["brightness"].std(), rel=0.12)
    assert direction.facts["effect"] == pytest.approx(1, abs=0.1)
    assert direction.facts["up"] == "lighter"
    assert direction.network == teacher.samples.network


def test_what_else_moves_is_measured():
    """The axes overlap, and all layers are moved: blueness follows brightness, and the facts say so."""
    teacher, _, _ = learner(overlap=0.6)
    direction = teacher.direction("brightness", layers=range(NUM_WS))
    assert direction.layers is None
    assert direction.facts["also_blueness"] == pytest.approx(0.6, abs=0.15)
    alone = teacher.direction("brightness")
    assert alone.facts["also_blueness"] == pytest.approx(0, abs=0.02)


def test_not_leaves_nothing_of_the_other_axis():
    teacher, _, blue = learner(overlap=0.6)
    assert teacher.axis("brightness").normal @ blue > 0.5
    direction = teacher.direction("brightness", without=["blueness"], layers=range(NUM_WS))
    assert abs(direction.vector.double().numpy() @ teacher.axis("blueness").normal) < 1e-6
    assert abs(direction.facts["also_blueness"]) < 0.1
    assert "orthogonal to blueness" in direction.source
    assert direction.facts["effect"] == pytest.approx(1, abs=0.1)  # one deviation of w along it moves 0.8 only
    assert direction.facts["held_out_correlation"] < 0.9  # giving up the shared part costs some


def test_an_axis_cannot_be_kept_apart_from_itself():
    teacher, _, _ = learner(scores={"one": brightness, "same": brightness})
    with pytest.raises(UsageError, match="nothing of it is left"):
        teacher.direction("one", without=["same"])


def test_the_same_seed_learns_the_same_direction():
    first, second, other = (learner(seed=seed, count=300)[0].direction("brightness").vector for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_a_score_that_never_changes_teaches_nothing():
    teacher, _, _ = learner(scores={"flat": lambda pictures: np.ones(len(pictures))}, count=200)
    with pytest.raises(UsageError, match="every face scores the same"):
        teacher.direction("flat")


def test_a_score_that_is_nearly_always_unknown_is_refused():
    teacher, _, _ = learner(scores={"rare": lambda pictures: np.full(len(pictures), np.nan)}, count=200)
    with pytest.raises(UsageError, match="only 0 of 200"):
        teacher.direction("rare")


def test_a_score_that_the_pictures_do_not_follow_is_refused():
    rng = np.random.default_rng(0)
    teacher, _, _ = learner(scores={"noise": lambda pictures: rng.normal(size=len(pictures)) * 0 + rng.normal()})
    with pytest.raises(UsageError, match=r"changes its score by .* only"):
        teacher.direction("noise")


def test_a_neighbour_without_a_usable_score_spoils_nothing():
    teacher, _, _ = learner(
        scores={"brightness": brightness, "flat": lambda pictures: np.ones(len(pictures))}, count=300
    )
    facts = teacher.direction("brightness").facts
    assert "also_flat" not in facts
    assert facts["effect"] == pytest.approx(1, abs=0.1)


def test_progress_can_stop_it():
    generator, _, _ = planted_generator()
    with pytest.raises(Cancelled):
        sample_scores(generator, SCORES, 400, progress=lambda done, total: done < 100)


def test_progress_counts_to_the_end():
    generator, _, _ = planted_generator()
    told = []
    sample_scores(generator, SCORES, 130, batch_size=50, progress=lambda *now: told.append(now))
    assert told == [(50, 130), (100, 130), (130, 130)]


def test_a_score_must_answer_one_number_a_picture():
    generator, _, _ = planted_generator()
    with pytest.raises(ShapeError, match="one number each"):
        sample_scores(generator, {"odd": lambda pictures: np.zeros(3)}, 100)


def test_too_few_samples_and_unknown_methods_are_refused():
    generator, _, _ = planted_generator()
    with pytest.raises(UsageError, match="at least 100"):
        sample_scores(generator, SCORES, 50)
    with pytest.raises(UnknownNameError, match="svm"):
        fit_axis(sample_scores(generator, SCORES, 100), "brightness", method="svn")


@pytest.mark.parametrize(
    ("effects", "layers"),
    [
        ([0.0, 0.5, 0.5, 0.0], (1, 2)),
        ([0.02, 0.9, 0.05, 0.01], (1,)),
        ([0.5, -0.3, 0.5, 0.0], (0, 1, 2)),
        ([-0.1, -0.2, 0.6, float("nan")], (2,)),
        ([0.1, 0.1, 0.1, 0.1], (0, 1, 2, 3)),
        ([-0.1, -0.2], (0, 1)),
    ],
)
def test_the_strongest_range_is_the_shortest_that_keeps_the_effect(effects, layers):
    assert strongest_range(effects) == layers
