"""The loop that inversions and edits of many faces have in common."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

A = TypeVar("A")
T = TypeVar("T")


def told_outcomes(answers: Iterator[A | None], take: Callable[[A], object], told: deque[T]) -> Iterator[T]:
    """Take an executor's answers, and yield what was told meanwhile, also by whoever makes the requests.

    Args:
        answers: None for nothing yet. Closed at the end, which ends worker processes before OUT is released.
        take: called with each answer.
        told: outcomes that are to be yielded; emptied.
    """
    try:
        for answer in answers:
            if answer is not None:
                take(answer)
            while told:
                yield told.popleft()
        while told:
            yield told.popleft()
    finally:
        if isinstance(answers, Generator):
            answers.close()
