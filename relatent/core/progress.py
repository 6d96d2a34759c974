"""The progress bar of every command. It appears with the first news: until then others have the terminal."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

TRAINING = "{l_bar}{bar}| {n:g}/{total:g} kimg [{elapsed}<{remaining}{postfix}]"


class ProgressBar:
    """A tqdm bar made when it is first shown, closed at the end of a ``with`` block.

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
        """``done`` of ``total`` (None: unknown); it may also fall, where work begins again."""
        if self.bar is None:
            self.bar = tqdm(total=total, initial=done, **self.options)
        self.bar.total = total
        if text:
            self.bar.set_postfix_str(text, refresh=False)
        self.bar.update(done - self.bar.n)  # drawn some ten times a second at most

    def close(self, **options: Any) -> None:
        """End the bar; the next news begins a new one, with these options changed."""
        if self.bar is not None:
            self.bar.close()
        self.bar = None
        self.options |= options


def counting(label: str, unit: str = "face") -> ProgressBar:
    """A bar that is shown on a terminal only and leaves nothing there, for a part of a command's work."""
    return ProgressBar(desc=label, unit=unit, leave=False, disable=None)
