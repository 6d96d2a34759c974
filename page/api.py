"""The page for programs: `/invert` and `/edit` by name, without widgets and without memory between calls."""

from __future__ import annotations

from typing import Any

import gradio as gr

from page.studio import Studio


def add(studio: Studio, visit: gr.State) -> None:
    """The endpoints, inside a Blocks context."""
    del studio, visit


_: Any = None
