"""The measures of edits, on numbers whose answers are known, and one real face."""

import numpy as np
import pytest
import torch

from benchmarks import editing
from benchmarks.edit_measures import STRENGTHS, FaceMoves, add_line, follows, leak_matrix, measure_face, read_lines
from benchmarks.editing import as_markdown, heat_map, measured_scores, scored_directions, summary
from editing.attributes.registry import Attribute
from editing.directions.direction import Direction
from editing.directions.sampling import sample_scores
from editing.seeds import seed_inversion
from relatent.core.errors import UsageError
from stylegan import network_id

AT = np.array(STRENGTHS, float)


@pytest.mark.parametrize(
    ("scores", "wanted"),
    [
        (AT, True),
        (0.2 * AT, True),
        (-AT, False),
        ([-3, -2, -1, 0, 1, 0.95, 3], True),  # a tenth of a deviation back is allowed
        ([-3, -2, -1, 0, 1, 0.8, 3], False),
        ([0, -0.05, -0.02, 0, 0.04, 0.01, 0.02], False),  # no order in it
        ([-3, -2, -1, 0, 1, np.nan, 3], False),
    ],
)
def test_a_score_follows_if_it_rises(scores, wanted):
    assert follows(np.array(scores, float)) is wanted


def moves(first_moves, second_moves, faces=2):
    """[faces, 2, strengths, 2] of two directions, each given by what it does to both scores at each strength."""
    one = np.stack([np.stack(first_moves, axis=-1), np.stack(second_moves, axis=-1)])
    return np.repeat(one[None], faces, axis=0)


def test_the_worse_side_counts_as_leak():
    bent = np.where(AT > 0, 0.5 * AT, 0.1 * AT)  # moves along upwards, hardly downwards
    leaks = leak_matrix(moves((AT, bent), (0.2 * AT, -2 * AT)))
    np.testing.assert_allclose(leaks, [[1, 0.5], [-0.1, 1]])


def test_unknown_scores_are_left_out():
    scores = moves((AT, 0.3 * AT), (0 * AT, AT))
    scores[0, 0, :, 1] = np.nan
    np.testing.assert_allclose(leak_matrix(scores)[0], [1, 0.3])


def test_scores_without_a_direction_are_columns_of_their_own():
    wide = np.stack([AT, 0.2 * AT, -0.5 * AT], axis=-1)  # what one direction does to its own score and to two others
    one = np.stack([wide, wide[:, [1, 0, 2]]])  # [2, strengths, 3]
    np.testing.assert_allclose(leak_matrix(one[None]), [[1, 0.2, -0.5], [0.2, 1, -0.5]])
    faces = [FaceMoves("a", one.tolist(), [[0.1, 0.1]] * 2, [0.0] * 2)]
    result = summary(faces, ["age", "yaw"], ["age", "yaw", "glasses"])
    assert result["directions"]["age"]["worst_leak"] == ["glasses", -0.5]
    assert (result["pairs"], result["pairs_over_a_third"]) == (4, 2)
    assert heat_map(np.array(result["leaks"]), ["age", "yaw"], ["age", "yaw", "glasses"]).startswith(b"\x89PNG")


def test_every_score_is_measured_with_its_deviation(tiny_generator, monkeypatch):
    scores = {
        "first": Attribute("first", "", lambda p: p.mean(axis=(1, 2, 3))),
        "second": Attribute("second", "", lambda p: 7.0 * np.arange(len(p)) % 5),
    }
    monkeypatch.setattr(editing, "known_attributes", lambda alignment: scores)
    direction = Direction(torch.ones(24), "second", network_id(tiny_generator), facts={"deviation": 3.5})
    found, deviations = measured_scores(tiny_generator, [direction])
    assert list(found) == ["second", "first"]
    assert deviations["second"] == 3.5
    assert deviations["first"] == sample_scores(tiny_generator, {"f": found["first"]}, 1000).deviation("f") > 0


def test_the_summary_names_what_missed():
    one = moves((AT, 0.5 * AT), (0 * AT, AT), faces=1)[0]
    faces = [FaceMoves(str(k), one.tolist(), [[0.2, 0.4], [0.5, 0.6]], [0.01, None]) for k in range(10)]
    result = summary(faces, ["age", "yaw"], ["age", "yaw"])
    assert result["directions"]["age"]["worst_leak"] == ["yaw", 0.5]
    assert result["directions"]["age"]["follows"] == 10
    assert result["directions"]["yaw"]["outside"] is None
    assert result["missed"] == {
        "follows its strength for 90 of 100 faces": [],
        "moves nothing else by a third of what it is meant to": ["age"],
        "identity distance below 0.45 at strength 1 for 80 of 100": ["yaw"],
    }
    assert (result["median_leak"], result["pairs_over_a_third"]) == (0.25, 1)
    assert "| age | -2.00 / +2.00 | 10 of 10 |" in as_markdown(result)


def test_pairs_that_are_one_movement_are_exempt():
    one = moves((AT, 0.9 * AT), (0.9 * AT, AT), faces=1)[0]
    three = np.zeros((3, len(AT), 3))
    three[:2, :, :2], three[2, :, 2] = one, AT
    faces = [FaceMoves("a", three.tolist(), [[0.1, 0.1]] * 3, [0.0] * 3)]
    result = summary(faces, ["smile", "mouth_open", "age"], ["smile", "mouth_open", "age"])
    assert result["pairs_over_a_third"] == 0
    assert result["exempt"] == {"smile and mouth_open": "a laugh opens the lips"}


def test_a_face_is_measured_and_kept(tiny_generator, tmp_path):
    vector = torch.zeros(24)
    vector[0] = 0.3
    network = network_id(tiny_generator)
    pair = [
        Direction(vector, name, network, facts={"deviation": deviation})
        for name, deviation in (("brightness", 10.0), ("warm_light", 5.0))
    ]
    scores = {"brightness": lambda p: p.mean(axis=(1, 2, 3)), "warm_light": lambda p: p[..., 2].mean(axis=(1, 2))}
    found = measure_face(
        "one", seed_inversion(tiny_generator, 3), tiny_generator, pair, scores, {"brightness": 10.0, "warm_light": 5.0}
    )
    assert np.shape(found.scores) == (2, len(STRENGTHS), 2)
    assert found.scores[0] == found.scores[1]  # the same vector under two names
    assert found.scores[0][3] != found.scores[0][6]
    assert found.outside[1] is None
    assert found.outside[0] > 0
    add_line(tmp_path / "a" / "lines.jsonl", found)
    assert read_lines(tmp_path / "a" / "lines.jsonl") == {"one": found}


def test_a_direction_without_its_deviation_is_refused(tiny_generator, tmp_path):
    Direction(torch.ones(24), "smile", network_id(tiny_generator)).save(tmp_path / "smile.safetensors")
    with pytest.raises(UsageError, match="learn it again"):
        scored_directions(tiny_generator, tmp_path)


def test_the_heat_map_is_a_picture():
    assert heat_map(np.eye(3), ["a", "b", "c"], ["a", "b", "c"]).startswith(b"\x89PNG")
