"""The sliders of directions, grouped alike in every tab."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import gradio as gr

from editing.directions.direction import Direction
from relatent.web.tabs.widgets import OpenSlider

REACH = 2.0  # largest strength, in the direction's unit (mostly a standard deviation); larger ones distort faces
GROUPS = {
    "Expression": ("smile", "mouth_open", "eyes_open"),
    "Face": ("age", "gender"),
    "Pose": ("yaw", "pitch"),
    "Glasses and hair": ("glasses", "beard", "fringe"),
    "Light and colour": ("light_from_right", "light_background", "warm_light", "skin_tone", "brow_darkness"),
}
OPEN = ("Expression", "Face")  # the other groups move more of the face than their name says
LABELS = {"yaw": "Turn", "pitch": "Nod", "fringe": "Hair over the forehead"}
ENDS = {
    "smile": ("serious", "smiling"),
    "mouth_open": ("closed", "open"),
    "eyes_open": ("closed", "open"),
    "age": ("younger", "older"),
    "gender": ("more female", "more male"),
    "glasses": ("without", "with"),
    "beard": ("without", "with"),
    "fringe": ("without", "with"),
    "light_from_right": ("from the left", "from the right"),
    "light_background": ("darker", "lighter"),
    "warm_light": ("cold", "warm"),
    "skin_tone": ("darker", "lighter"),
    "brow_darkness": ("lighter", "darker"),
}


def direction_sliders(directions: Mapping[str, Direction], tab: str) -> dict[str, gr.Slider]:
    """A slider for each direction, in groups; those of groups that are not ``OPEN`` are folded away."""
    sliders = {}
    for group, names in grouped(directions):
        with gr.Accordion(group, open=group in OPEN or len(names) == len(directions)):
            for name in names:
                sliders[name] = direction_slider(directions[name], tab)
    return {name: sliders[name] for name in directions}


def direction_slider(direction: Direction, tab: str) -> gr.Slider:
    """A slider from -REACH to REACH, set to 0; its ``elem_id`` is TAB-NAME."""
    name = direction.name
    slider: gr.Slider = OpenSlider(
        -REACH, REACH, 0, step=0.1, label=readable(name), info=ends(direction), buttons=["reset"],
        elem_id=f"{tab}-{name}", elem_classes="relatent-centred",
    )  # fmt: skip
    return slider


def clamped(strength: Any) -> float:
    """A strength within the slider's range; 0 for what is no number."""
    try:
        return float(min(REACH, max(-REACH, float(strength))))
    except (TypeError, ValueError):
        return 0.0


def grouped(names: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """The non-empty groups with their directions; all others are in a last group."""
    names = list(names)
    known = [name for group in GROUPS.values() for name in group]
    groups = [(group, [name for name in members if name in names]) for group, members in GROUPS.items()]
    groups.append(("More", [name for name in names if name not in known]))
    yield from ((group, members) for group, members in groups if members)


def readable(name: str) -> str:
    """A direction's name for display: "light_from_right" becomes "Light from right", "yaw" becomes "Turn"."""
    return LABELS.get(name, name.replace("_", " ").capitalize())


def ends(direction: Direction) -> str | None:
    """What the slider's ends mean, in a few words; None if it is unknown."""
    if direction.name in ENDS:
        return " \u2194 ".join(ENDS[direction.name])
    fact = direction.facts.get("up")
    return str(fact) if fact else None
