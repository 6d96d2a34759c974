"""Candidates are every combination, are ranked among equals, and the choice is judged on faces it did not see."""

import dataclasses
import json

import pytest
from click.testing import CliRunner

from benchmarks import sweep
from benchmarks.sweep import AS_IT_IS, RANKED, candidates, chosen, main, parse_tries, ranks
from inversion import presets as settings
from inversion.presets import PRESETS
from relatent.core.errors import UsageError

pytestmark = pytest.mark.slow  # runs a benchmark at a tiny size


BALANCED = PRESETS["balanced"]


def test_every_combination_and_the_plan_as_it_is():
    tries = parse_tries(["optimiser.num_steps=150,300", "optimiser.weights.pixels=1,5", 'optimiser.space="w"'])
    plans = candidates(BALANCED, tries)
    assert len(plans) == 5
    assert plans[AS_IT_IS] is BALANCED
    one = plans["optimiser.num_steps=150, optimiser.weights.pixels=1, optimiser.space=w"]
    assert (one.optimiser.num_steps, one.optimiser.weights.pixels, one.optimiser.space) == (150, 1, "w")
    assert one.optimiser.weights.delta == BALANCED.optimiser.weights.delta
    same = candidates(BALANCED, parse_tries([f"optimiser.num_steps={BALANCED.optimiser.num_steps}"]))
    assert list(same) == [AS_IT_IS]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("optimiser.num_steps", "expected a setting and values"),
        ("optimiser.num_steps=many", "expected a setting and values"),
        ("optimiser.steps=3", "the settings there are: space, num_steps"),
        ("tuning.rank=3", "the settings there are: none"),
        ("optimiser.num_steps=2.5", "expected one like 300"),
        ("optimiser.num_steps=0", "expected at least 1"),
        ("optimiser.keep_best=1", "expected one like True"),
        ("optimiser.learning_rate=true", "expected one like 0.2"),
        ("optimiser.weights=1", "expected one like LossWeights"),
    ],
)
def test_what_cannot_be_tried(text, words):
    with pytest.raises(UsageError, match=words):
        candidates(BALANCED, parse_tries([text]))
    with pytest.raises(UsageError, match="nothing to try"):
        parse_tries([])


def row(**changes):
    return {**dict.fromkeys(RANKED, 1.0), "seconds": 1.0, **changes}


def test_ranked_among_candidates_of_as_many_steps():
    long = dataclasses.replace(BALANCED, optimiser=dataclasses.replace(BALANCED.optimiser, num_steps=999))
    plans = {AS_IT_IS: BALANCED, "a": BALANCED, "b": BALANCED, "long": long}
    rows = {
        AS_IT_IS: row(),
        "a": row(lpips=0.5, psnr=2.0),
        "b": row(lpips=2.0, psnr=0.5, identity_distance=None),
        "long": row(lpips=0.1, psnr=9.0),
    }
    found = ranks(plans, rows)
    assert found["long"] == 1  # nobody beside it
    # of lpips and psnr "a" is first and "b" last; of the others all are equal
    assert found["a"] < found[AS_IT_IS] < found["b"]
    assert found["a"] == pytest.approx((1 + 1 + 2 * 4 + 1.5) / 7, abs=1e-3)
    assert chosen(plans, found, 1) == [AS_IT_IS, "a", "long"]


def test_a_sweep(faces, tiny_file, tmp_path, few_steps, monkeypatch):
    monkeypatch.setattr(settings, "PRESETS", few_steps)
    seen = []
    original = sweep.validation_faces

    def watched(data, folder, names, resolution):
        seen.append((folder, len(names)))
        return original(data, folder, names, resolution)

    monkeypatch.setattr(sweep, "validation_faces", watched)
    options = ["--faces", faces, "--network", tiny_file, "--folder", tmp_path, "--train-count", 3, "--val-count", 2]
    options += ["--batch", 3, "--finalists", 1, "--try", "optimiser.learning_rate=0.0001,0.3"]
    for _ in range(2):  # the second time everything is known
        result = CliRunner().invoke(main, list(map(str, options)))
        assert result.exit_code == 0, result.output
        assert seen == [("train", 3)] * 3 + [("val", 2)] * 2
    found = json.loads((tmp_path / "sweep-balanced.json").read_text())
    tried, judged = found["train"]["candidates"], found["val"]["candidates"]
    assert list(tried) == [AS_IT_IS, "optimiser.learning_rate=0.0001", "optimiser.learning_rate=0.3"]
    assert len(judged) == 2
    assert set(found["settings"]) == set(tried)
    still, moving = (tried[f"optimiser.learning_rate={rate}"] for rate in ("0.0001", "0.3"))
    assert still["ws_distance"] < 0.1 < moving["ws_distance"]  # w_avg, where it started, is at 0
    assert "2 validation faces:" in (tmp_path / "sweep-balanced.md").read_text()
