"""Checks numbers given by users, on a command line, through the page's API or in Python, and writes some for them."""

from __future__ import annotations

import math
import operator
import re
from typing import Any

import numpy as np

from relatent.core.errors import UsageError

STRENGTH = 1000.0  # units of a direction, usually standard deviations; beyond about ten nothing looks like a face
TRUNCATION = 100.0
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
DIGITS = re.compile(r"[0-9]+")
MOST_DIGITS = 18  # of an integer; Python itself refuses to convert thousands of digits


def as_number(name: str, value: Any, low: float, high: float, example: str = "2 or -1.5") -> float:
    """A finite number from ``low`` to ``high`` as a float.

    Args:
        name: its name in error messages.
        value: an int or float, a scalar of NumPy, or an array or tensor of one element without axes.
        low: smallest accepted value.
        high: largest accepted value.
        example: an accepted value, for error messages.

    Raises:
        UsageError: anything else.
    """
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, int | float):
        raise UsageError(f"{name} is {_shown(value)}; expected a number such as {example}.")
    if not low <= plain <= high:  # false for NaN, too
        raise UsageError(f"{name} is {_shown(value)}; expected a number from {low:g} to {high:g}.")
    return float(plain)


def as_whole(name: str, value: Any, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high`` as an int; 2.0 is accepted, 2.5 is not.

    Args:
        name: its name in error messages.
        value: as :func:`as_number` takes it.
        low: smallest accepted value.
        high: largest accepted value.

    Raises:
        UsageError: anything else.
    """
    plain = _plain(value)
    if isinstance(plain, float) and math.isfinite(plain) and plain.is_integer():
        plain = int(plain)
    if isinstance(plain, bool) or not isinstance(plain, int) or not low <= plain <= high:
        raise UsageError(f"{name} is {_shown(value)}; expected a whole number from {low} to {high}.")
    return plain


def whole_number(value: Any) -> int | None:
    """An int of Python, NumPy or PyTorch as an int; None for anything else, True and 2.0 among it."""
    plain = _plain(value)
    return plain if isinstance(plain, int) and not isinstance(plain, bool) else None


def as_strength(name: str, value: Any) -> float:
    """The strength of a direction called ``name``; raises UsageError as :func:`as_number` does."""
    return as_number(f"the strength of {name}", value, -STRENGTH, STRENGTH)


def as_truncation(value: Any) -> float:
    """A truncation, 1 for none and 0 for the average face; raises UsageError as :func:`as_number` does."""
    return as_number("the truncation", value, -TRUNCATION, TRUNCATION, example="0.7")


def number_in(text: str) -> float | None:
    """The finite number in a text of ASCII digits, such as -1.5 or 2e-3, or None."""
    if not NUMBER.fullmatch(text.strip()):  # float() takes 1_0 for ten, and digits of other scripts
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def readable(value: float, digits: int = 3) -> str:
    """A number of ``digits`` significant digits for a reader: 6050 and 0.0012, and 1.2e-07 only below 0.0001."""
    if not math.isfinite(value) or abs(value) < 1e-4:
        return f"{value:.{digits}g}"
    return np.format_float_positional(value, precision=digits, unique=False, fractional=False, trim="-")


def digits_in(text: str) -> int | None:
    """The whole number in a text of ASCII digits; None for anything else and for more than 18 digits."""
    return int(text) if len(text) <= MOST_DIGITS and DIGITS.fullmatch(text) else None


def _plain(value: Any) -> Any:
    """A scalar of NumPy or PyTorch as a Python number; anything else unchanged."""
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
