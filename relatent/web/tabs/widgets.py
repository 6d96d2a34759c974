"""Gradio's widgets without its own checks of values, whose messages are not the page's.

They are classes because Gradio makes a widget anew for every visitor, from its class and its arguments.
"""

from __future__ import annotations

import math
from abc import ABCMeta
from collections.abc import Callable
from typing import Any

import gradio as gr


def _subclass(name: str, base: Any, text: str, preprocess: Callable[[Any, Any], Any]) -> Any:
    """A subclass of a component that prepares the browser's values with ``preprocess``.

    Gradio's metaclass would write an interface file beside this one when it sees a class statement; the folder of an
    installed package may not be writable.
    """
    # The browser knows a template by the name of its base.
    body = {"__module__": __name__, "__doc__": text, "preprocess": preprocess, "is_template": True}
    made: Any = ABCMeta.__new__(type(base), name, (base,), body)
    return made


UploadedImage = _subclass(
    "UploadedImage",
    gr.Image,
    "Gives the path of the upload. Gradio would decode it first, without the page's limits and messages.",
    lambda _, payload: None if payload is None else payload.path,
)
OpenSlider = _subclass(
    "OpenSlider",
    gr.Slider,
    "Gives the number as the browser sent it. Gradio would refuse one out of range, where the page can clamp it.",
    lambda _, payload: payload,
)


def _within(widget: Any, payload: Any) -> float | int | None:
    """The number within the widget's range, and whole if the widget's precision is 0."""
    if payload is None:
        return None
    value = float(payload)
    if not math.isfinite(value):
        return None
    low, high = (-math.inf if widget.minimum is None else widget.minimum, widget.maximum)
    value = min(math.inf if high is None else high, max(low, value))
    return round(value) if widget.precision == 0 else value


ClampedNumber = _subclass(
    "ClampedNumber",
    gr.Number,
    "Gives the nearest number of its range. Gradio would refuse another one; the page's script says what was changed.",
    _within,
)
ClampedSlider = _subclass(
    "ClampedSlider",
    gr.Slider,
    "Gives the nearest number of its range. Gradio would refuse another one; the page's script says what was changed.",
    _within,
)
