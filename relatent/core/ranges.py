"""Parses lists of whole numbers with ranges: "85,100,1500-1502"."""

from __future__ import annotations

import re

from relatent.core.errors import UsageError
from relatent.core.numbers import MOST_DIGITS, digits_in

MOST = 10_000  # numbers in a list; more are probably a typing error
PIECE = re.compile(r"\s*([0-9]+)\s*(?:-\s*([0-9]+)\s*)?")


def is_number_list(text: str) -> bool:
    """Whether ``text`` consists of whole numbers, ranges and commas; its values are not checked."""
    return all(PIECE.fullmatch(piece) for piece in text.split(","))


def whole_numbers(text: str, what: str = "numbers") -> tuple[int, ...]:
    """Parse "85,100,1500-1502" to (85, 100, 1500, 1501, 1502), in the order given; ranges include both ends.

    Args:
        text: numbers from 0 and ranges, separated by commas.
        what: name of the numbers in messages.

    Raises:
        UsageError: another format, a range that runs backwards, or more than ``MOST`` numbers.
    """
    numbers: list[int] = []
    for piece in text.split(","):
        match = PIECE.fullmatch(piece)
        if not match:
            raise UsageError(
                f"{what} came as {text!r}; expected whole numbers and ranges, for example 85,100,1500-1502."
            )
        first, last = digits_in(match[1]), digits_in(match[2] or match[1])
        if first is None or last is None:
            raise UsageError(f"{what} came as {text!r:.80}; expected numbers of at most {MOST_DIGITS} digits.")
        if last < first:
            raise UsageError(f"the range {piece.strip()} of {what} runs backwards. Write {last}-{first}.")
        if len(numbers) + last - first + 1 > MOST:
            raise UsageError(f"{what} came as {text!r:.80}, more than {MOST} numbers. Ask for fewer.")
        numbers.extend(range(first, last + 1))
    return tuple(numbers)
