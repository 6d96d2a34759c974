"""A progress bar that appears at its first update, so that it does not mix with bars shown before."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

TRAINING = "{l_bar}{bar}| {n:g}/{total:g} kimg [{elapsed}<{remaining}{postfix}]"


class LateBar:
    """A tqdm bar, created when it is first shown and closed at the end of a ``with`` block.

    Args:
        **options: of tqdm.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.bar: tqdm | None = None

    def __enter__(self) -> LateBar:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def show(self, done: float, total: float | None, text: str = "") -> None:
        """Show ``done`` of ``total`` (None if unknown). ``done`` may also decrease, when work starts again."""
        if self.bar is None:
            self.bar = tqdm(total=total, initial=done, **self.options)
        self.bar.total = total
        if text:
            self.bar.set_postfix_str(text, refresh=False)
        self.bar.n = done
        self.bar.refresh()
