"""Progress bars that appear with the first news: until then others, of the reading of data, have the terminal."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

TRAINING = "{l_bar}{bar}| {n:g}/{total:g} kimg [{elapsed}<{remaining}{postfix}]"


class LateBar:
    """A tqdm bar made when it is first shown, closed at the end of a ``with`` block.

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
        """``done`` of ``total`` (None: unknown); it may also fall, where work begins again."""
        if self.bar is None:
            self.bar = tqdm(total=total, initial=done, **self.options)
        self.bar.total = total
        if text:
            self.bar.set_postfix_str(text, refresh=False)
        self.bar.n = done
        self.bar.refresh()
