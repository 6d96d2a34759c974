"""The page for programs: `/mix` by name, without widgets and without memory between calls."""

from __future__ import annotations

import gradio as gr

from page.studio import Studio


def add(studio: Studio) -> None:
    """The endpoint, inside a Blocks context."""
    del studio
