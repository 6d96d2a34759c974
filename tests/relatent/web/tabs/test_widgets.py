"""Widgets that take any number and give one of their range."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("gradio")

from relatent.web.tabs.widgets import ClampedNumber, ClampedSlider


@pytest.mark.parametrize(("sent", "given"), [(7000, 5000), (-1, 0), (2.6, 3), (None, None), (math.nan, None)])
def test_a_number_is_the_nearest_one_of_its_range(sent, given):
    assert ClampedNumber(0, precision=0, minimum=0, maximum=5000).preprocess(sent) == given


def test_a_number_without_an_end_has_none():
    assert ClampedNumber(1, minimum=0).preprocess(1e9) == 1e9


def test_a_slider_alike():
    slider = ClampedSlider(0, 1.5, 1, step=0.05)
    assert [slider.preprocess(value) for value in (-3, 0.35, 9)] == [0, 0.35, 1.5]


def test_the_browser_knows_them():
    assert ClampedNumber(0).get_block_name() == "number"
    assert ClampedSlider(0, 1).get_block_name() == "slider"
