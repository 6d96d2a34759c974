import math

import numpy as np
import pytest
import torch

from relatent.core.errors import UsageError
from relatent.core.numbers import (
    as_number,
    as_strength,
    as_truncation,
    as_whole,
    digits_in,
    number_in,
    readable,
    whole_number,
)


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int64(2), np.array(2.0), torch.tensor(2.0)])
def test_what_is_a_number(value):
    found = as_number("it", value, 0, 3)
    assert (found, type(found)) == (2.0, float)
    whole = as_whole("it", value, 0, 3)
    assert (whole, type(whole)) == (2, int)


@pytest.mark.parametrize("value", [None, True, "2", [2], np.array([2.0]), np.array(True), {}, 2j])
def test_what_is_none(value):
    with pytest.raises(UsageError, match=r"^it is .*expected a number such as"):
        as_number("it", value, 0, 3)
    with pytest.raises(UsageError, match=r"^it is .*expected a whole number from 0 to 3"):
        as_whole("it", value, 0, 3)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e39, -1, 10**400, torch.tensor(math.nan)])
def test_what_is_out_of_range(value):
    with pytest.raises(UsageError, match="from 0 to 3"):
        as_number("it", value, 0, 3)
    with pytest.raises(UsageError, match="from 0 to 3"):
        as_whole("it", value, 0, 3)


def test_a_part_of_a_whole():
    with pytest.raises(UsageError, match=r"it is 2\.5; expected a whole number"):
        as_whole("it", 2.5, 0, 3)


def test_what_edits_take():
    assert as_strength("smile", -1000) == -1000
    assert as_truncation(0.7) == 0.7
    for call in (lambda: as_strength("smile", 1e39), lambda: as_truncation(1e39)):
        with pytest.raises(UsageError, match="expected a number from"):
            call()


@pytest.mark.parametrize("value", [7, np.int64(7), np.uint8(7), torch.tensor(7), np.array(7)])
def test_a_whole_number_of_any_library(value):
    assert (whole_number(value), type(whole_number(value))) == (7, int)


@pytest.mark.parametrize("value", [True, 7.0, np.float32(7), "7", None, [7], np.array([7, 8]), torch.tensor([7.0])])
def test_what_is_no_whole_number(value):
    assert whole_number(value) is None


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (6048.3, 3, "6050"),
        (31850.7, 4, "31850"),
        (-29.084, 4, "-29.08"),
        (0.000214, 2, "0.00021"),
        (64.0, 3, "64"),
        (0.0, 3, "0"),
        (1.2345e-7, 3, "1.23e-07"),
        (math.inf, 3, "inf"),
    ],
)
def test_readable(value, digits, text):
    assert readable(value, digits) == text


def test_text():
    assert [number_in(text) for text in ("2", "-1.5", "1e3", "nan", "inf", "x", "")] == [2, -1.5, 1000, *[None] * 4]
    assert [number_in(text) for text in (" 2 ", "+.5", "2.", "-2E-3", "1e999")] == [2, 0.5, 2, -0.002, None]
    assert [number_in(text) for text in ("1_0", "٣", "0x10", "1e", ".", "+-1", "1 2")] == [None] * 7
    assert [digits_in(text) for text in ("7", "007", "9" * 18)] == [7, 7, 10**18 - 1]
    assert [digits_in(text) for text in ("", "-1", "1.5", "²", "٣", "9" * 19, "9" * 5000)] == [None] * 7
