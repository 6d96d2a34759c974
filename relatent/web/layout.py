"""Builds the page: its tabs, and the events that connect them."""

from __future__ import annotations

from typing import Any

import gradio as gr

from relatent.web.api import edit as api
from relatent.web.api import mix as mix_api
from relatent.web.state import AppState
from relatent.web.tabs import (
    about as about_tab,
)
from relatent.web.tabs import (
    batch as batch_tab,
)
from relatent.web.tabs import (
    edit as edit_tab,
)
from relatent.web.tabs import (
    explore as explore_tab,
)
from relatent.web.tabs import (
    mix as mix_tab,
)
from relatent.web.tabs import (
    photo as photo_tab,
)

TITLE = "Relatent"
LEAD = "Put a photo of a face into a generator's latent space, change it there, and put it back into the photo."


def lay_out(app: AppState) -> gr.Blocks:
    """Build all widgets and events; nothing is served yet."""
    minutes = app.settings.session_minutes
    with gr.Blocks(
        title=TITLE,
        analytics_enabled=False,
        delete_cache=(60, int(minutes * 60) + 60),  # for Gradio's own files, which no session deletes
    ) as blocks:
        session = gr.State(app.sessions.begin())  # Gradio copies it for every user, which starts a new session
        gr.Markdown(f"# {TITLE}\n{LEAD}")
        with gr.Tabs() as tabs:
            with gr.Tab("Photo", id="photo"):
                photo = photo_tab.build(app, session)
            with gr.Tab("Edit", id="edit") as edit_view:
                edit = edit_tab.build(app, session)
            with gr.Tab("Mix", id="mix") as mix_view:
                mix = mix_tab.build(app, session)
            with gr.Tab("Batch", id="batch"):
                batch_tab.build(app, session)
            with gr.Tab("Explore", id="explore") as explore_view:
                explore = explore_tab.build(app, session)
            with gr.Tab("About", id="about"):
                about_tab.build(app)
        photo_tab.connect(photo, edit, tabs, session)
        edit_view.select(edit.show, [session], edit.outputs, api_visibility="private", show_progress="hidden")
        mix_view.select(mix.show, mix.inputs, mix.outputs, api_visibility="private", show_progress="hidden")
        explore_view.select(
            explore.show, explore.inputs, explore.outputs, api_visibility="private", show_progress="hidden"
        )
        api.add(app, session)
        mix_api.add(app, session)

        def arrive(own: Any, request: gr.Request) -> None:
            app.sessions.arrive(own, str(request.session_hash))

        def leave(request: gr.Request) -> None:
            app.sessions.leave(str(request.session_hash))

        blocks.load(arrive, [session], None, api_visibility="private", queue=False, show_progress="hidden")
        blocks.unload(leave)
    # Jobs wait in the page's own queue, which shows their position; Gradio's limits would make them wait twice.
    blocks.queue(default_concurrency_limit=None, api_open=False)
    return blocks
