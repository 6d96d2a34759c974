"""The slider of a direction, used in several tabs."""

from __future__ import annotations

import gradio as gr

from editing.directions.direction import Direction

REACH = 2.0  # largest strength, in the direction's unit (mostly a standard deviation); larger ones distort faces


def direction_slider(direction: Direction, tab: str) -> gr.Slider:
    """A slider from -REACH to REACH, set to 0; its ``elem_id`` is TAB-NAME."""
    name = direction.name
    return gr.Slider(
        -REACH, REACH, 0, step=0.1, label=readable(name), info=_meaning(direction), buttons=["reset"],
        elem_id=f"{tab}-{name}",
    )  # fmt: skip


def readable(name: str) -> str:
    """A direction's name for display: "light_from_right" becomes "Light from right"."""
    return name.replace("_", " ").capitalize()


def _meaning(direction: Direction) -> str | None:
    """The meaning of a positive strength, in a few words; None if it is unknown."""
    fact = direction.facts.get("up")
    return str(fact) if fact else None
