"""The one place that checks a number a person typed: on a command line, in a program that calls the page, in Python."""

from __future__ import annotations

import math
import operator
import re
from typing import Any

from relatent.core.errors import UsageError

STRENGTH = 1000.0  # units of a direction; usually one is a standard deviation, and ten leave every face
TRUNCATION = 100.0
DIGITS = re.compile(r"[0-9]+")
MOST_DIGITS = 18  # of a whole number that is worth reading; Python itself refuses those of thousands


def as_number(name: str, value: Any, low: float, high: float, example: str = "2 or -1.5") -> float:
    """A finite number from ``low`` to ``high`` as a float.

    Args:
        name: how messages call it.
        value: an int or float, a scalar of NumPy, or an array or tensor of one element without axes.
        low: the least that can be meant.
        high: the most.
        example: what would have been taken, for messages.

    Raises:
        UsageError: something else.
    """
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, int | float):
        raise UsageError(f"{name} is {_shown(value)}; expected a number such as {example}.")
    if not low <= plain <= high:  # neither is NaN
        raise UsageError(f"{name} is {_shown(value)}; expected a number from {low:g} to {high:g}.")
    return float(plain)


def as_whole(name: str, value: Any, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high`` as an int; 2.0 is one, 2.5 is none.

    Args:
        name: how messages call it.
        value: as :func:`as_number` takes it.
        low: the least that can be meant.
        high: the most.

    Raises:
        UsageError: something else.
    """
    plain = _plain(value)
    if isinstance(plain, float) and math.isfinite(plain) and plain.is_integer():
        plain = int(plain)
    if isinstance(plain, bool) or not isinstance(plain, int) or not low <= plain <= high:
        raise UsageError(f"{name} is {_shown(value)}; expected a whole number from {low} to {high}.")
    return plain


def as_strength(name: str, value: Any) -> float:
    """How far to move along a direction called ``name``; raises UsageError as :func:`as_number` does."""
    return as_number(f"the strength of {name}", value, -STRENGTH, STRENGTH)


def as_truncation(value: Any) -> float:
    """A truncation, 1 for none and 0 for the average face; raises UsageError as :func:`as_number` does."""
    return as_number("the truncation", value, -TRUNCATION, TRUNCATION, example="0.7")


def number_in(text: str) -> float | None:
    """The finite number that a text is, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def digits_in(text: str) -> int | None:
    """The whole number from 0 that a text of plain digits is, or None for anything else and for more than 18 digits."""
    return int(text) if len(text) <= MOST_DIGITS and DIGITS.fullmatch(text) else None


def _plain(value: Any) -> Any:
    """A scalar of NumPy or PyTorch as the Python number it is; everything else as it came."""
    if isinstance(value, int | float):
        return value
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()
    try:
        return operator.index(value)
    except TypeError:
        return value


def _shown(value: object) -> str:
    return f"{value!r:.60}"
