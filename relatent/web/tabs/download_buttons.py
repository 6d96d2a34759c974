"""Buttons that write a file and start its download in the browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr

from relatent.web.actions.download import Download
from relatent.web.errors import reported, status_text

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def hidden_download(elem_id: str) -> gr.DownloadButton:
    """The button that the browser clicks when a file is ready; it is not seen."""
    return gr.DownloadButton("Download", elem_id=elem_id, elem_classes="relatent-saved")


def downloads(
    button: gr.Button, write: Callable[..., Download], inputs: list[Any], saved: gr.DownloadButton, status: gr.HTML
) -> None:
    """Let a button write a file, tell so in the status line meanwhile, and start the download.

    Args:
        button: what is pressed.
        write: function of the values of ``inputs``.
        inputs: the session first.
        saved: from :func:`hidden_download`.
        status: the status line.
    """

    async def save(*values: Any) -> AsyncIterator[dict[Any, Any]]:
        # Without the former file, which would be downloaded again after an error.
        yield {saved: None, status: status_text("Preparing the file \u2026")}
        done = await asyncio.to_thread(write, *values)
        yield {saved: str(done.path), status: status_text(f"Downloaded {done.path.name}. {done.note}".strip())}

    fetch = f"file => {{ if (file) document.querySelector('#{saved.elem_id}').click() }}"
    button.click(
        reported(save, [saved], status), inputs, [saved, status], concurrency_limit=None, trigger_mode="once", **QUIET
    ).then(None, [saved], None, js=fetch, **QUIET)
