"""The slider of a direction, wherever the page has one."""

from __future__ import annotations

import gradio as gr

from editing.directions.direction import Direction

REACH = 2.0  # to either side, in the direction's unit, mostly a standard deviation: beyond it faces fall apart


def direction_slider(direction: Direction, tab: str) -> gr.Slider:
    """From -REACH to REACH, at 0; its ``elem_id`` is TAB-NAME."""
    name = direction.name
    return gr.Slider(
        -REACH, REACH, 0, step=0.1, label=readable(name), info=_meaning(direction), buttons=["reset"],
        elem_id=f"{tab}-{name}",
    )  # fmt: skip


def readable(name: str) -> str:
    """A direction's name as people write it: "light_from_right" is "Light from right"."""
    return name.replace("_", " ").capitalize()


def _meaning(direction: Direction) -> str | None:
    """What more of it means, in a few words; None where nobody wrote it down."""
    fact = direction.facts.get("up")
    return str(fact) if fact else None
