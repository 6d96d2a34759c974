"""A progress bar for work that reports how much is done of how much."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def counting(label: str, unit: str = "face") -> Iterator[Callable[[int, int], None]]:
    """Yields a function to call with the number done and the number in all."""
    with tqdm(desc=label, unit=unit, leave=False, disable=None) as bar:  # shown on a terminal only

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
