"""What programs may send to `/invert` and `/edit`: anything, which is an answer in one sentence or a result."""

import math

import pytest

from inversion import InvertConfig
from relatent.core.errors import RelatentError, UsageError
from relatent.web.actions.edit import Change
from relatent.web.api.edit import checked_config, checked_strengths

GOOD = {"preset": "balanced", "face": 1, "num_steps": 0, "seed": 303, "align": True}


def test_numbers_as_gradio_hands_them_on():
    assert checked_config(**GOOD) == InvertConfig(face=1)
    assert checked_config(**{**GOOD, "face": 2.0, "num_steps": 5.0, "seed": 7.0}) == InvertConfig(
        face=2, num_steps=5, seed=7
    )
    assert checked_strengths({"smile": 2, "age": -1.5}) == {"smile": 2.0, "age": -1.5}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("value", [None, math.nan, math.inf, "x", [1], -1e30, 10**30])
def test_what_an_inversion_is_refused_for(name, value):
    with pytest.raises(RelatentError, match=r"expected|unknown preset"):
        checked_config(**{**GOOD, name: value})


@pytest.mark.parametrize("strengths", [None, [], "smile", {"smile": None}, {"smile": math.nan}, {"smile": 1e39}])
def test_what_an_edit_is_refused_for(strengths):
    with pytest.raises(UsageError, match="strength"):
        checked_strengths(strengths)


@pytest.mark.parametrize("truncation", [None, math.nan, 1e39, "1"])
def test_truncations(truncation):
    with pytest.raises(UsageError, match="the truncation is"):
        Change({}, None, truncation)
