"""What a tab gives to the layout of the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tab:
    """A tab's handler for events of the page.

    Attributes:
        show: handler that shows what the session holds, when the tab is opened.
        inputs: of ``show``.
        outputs: of ``show``.
    """

    show: Any
    inputs: list[Any]
    outputs: list[Any]
