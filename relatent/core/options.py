"""What the fields of a dataclass say of themselves to the command line."""

from __future__ import annotations

from typing import Any


def described(text: str, **more: Any) -> dict[str, Any]:
    """Metadata of a field from which :func:`relatent.core.command.config_options` makes an option with this help."""
    return {"help": text, **more}
