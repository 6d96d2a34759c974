"""The options of every command that puts faces back into their photos."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from editing.pasting import BLENDS, DEFAULT_BLEND
from editing.photo_faces import ATS
from relatent.core.command import PATH

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS = (
    click.option(
        "--photo", "photos", multiple=True, type=PATH, help="The photo, or a folder of photos, to paste into."
    ),
    click.option(
        "--blend", type=click.Choice(BLENDS), default=DEFAULT_BLEND, show_default=True, help="How the face goes back."
    ),
    click.option(
        "--at",
        type=click.Choice(ATS),
        default="photo",
        show_default=True,
        help="Show faces at their photo's resolution, where it is known, or as the network draws them.",
    ),
)


def pasting_options(command: F) -> F:
    """Decorator that adds --photo, --blend and --at."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command
