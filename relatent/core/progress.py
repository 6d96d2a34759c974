"""The progress bar of all commands. It appears at its first update, so that it does not mix with earlier output."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

TRAINING = "{l_bar}{bar}| {n:g}/{total:g} kimg [{elapsed}<{remaining}{postfix}]"


class ProgressBar:
    """A tqdm bar, created when it is first shown and closed at the end of a ``with`` block.

    Args:
        **options: of tqdm.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.bar: tqdm | None = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def show(self, done: float, total: float | None, text: str = "") -> None:
        """Show ``done`` of ``total`` (None if unknown). ``done`` may also decrease, when work starts again."""
        if self.bar is None:
            self.bar = tqdm(total=total, initial=done, **self.options)
        self.bar.total = total
        if text:
            self.bar.set_postfix_str(text, refresh=False)
        self.bar.update(done - self.bar.n)  # drawn some ten times a second at most

    def close(self, **options: Any) -> None:
        """Close the bar; the next update opens a new one, with these options changed."""
        if self.bar is not None:
            self.bar.close()
        self.bar = None
        self.options |= options


def counting(label: str, unit: str = "face") -> ProgressBar:
    """A bar for a part of a command's work, shown only on a terminal and removed at the end."""
    return ProgressBar(desc=label, unit=unit, leave=False, disable=None)
