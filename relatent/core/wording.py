"""Names and lists as people read them."""

from __future__ import annotations

from collections.abc import Sequence


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names with commas between them, at most ``most``; of more their number is told."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
