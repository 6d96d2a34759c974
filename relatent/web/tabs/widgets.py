"""Gradio's widgets without its own checks of values, whose messages are not the page's.

They are classes because Gradio makes a widget anew for every visitor, from its class and its arguments.
"""

from __future__ import annotations

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
