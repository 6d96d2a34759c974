"""Download buttons for a face that is not stored in the session, such as a mix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from relatent.web.actions.download import KINDS, write_download
from relatent.web.errors import handler
from relatent.web.session import Kept, Session
from relatent.web.state import AppState


def buttons(
    app: AppState, name: str, kinds: Sequence[str], inputs: list[Any], face: Callable[..., Kept]
) -> list[gr.Button]:
    """A row with a button for each kind of file.

    Args:
        app: the shared state.
        name: prefix of the buttons' element ids.
        kinds: keys of :data:`relatent.web.actions.download.KINDS`.
        inputs: the components whose values are passed to ``face``; the session comes first.
        face: makes the face from the values of the controls.
    """

    def saving(kind: str) -> Any:
        @handler
        def save(session: Session, *values: Any) -> str:
            return str(write_download(app, session, face(session, *values), kind))

        return save

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    with gr.Row():
        made = [gr.Button(KINDS[kind], size="sm", min_width=110, elem_id=f"{name}-get-{kind}") for kind in kinds]
    saved = gr.DownloadButton("Download", elem_id=f"{name}-saved", elem_classes="relatent-saved")
    for kind, button in zip(kinds, made, strict=True):
        button.click(saving(kind), inputs, [saved], **quiet).success(
            None, None, None, js=f"() => document.querySelector('#{name}-saved').click()", **quiet
        )
    return made
