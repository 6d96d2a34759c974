"""Builds the page: its tabs, and the events that connect them."""

from __future__ import annotations

from typing import Any

import gradio as gr

from relatent.web import page_script
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
    drag as drag_tab,
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
LEAD = "Drop a photo, and make it smile, younger, older or turned: in the photo itself, on this machine."

# A reload comes back to its visit: the browser tab remembers a random token until it is closed, and nothing else.
RETURNING = "(own, visit) => [own, sessionStorage.getItem('relatent-visit') || '']"
REMEMBER = "visit => sessionStorage.setItem('relatent-visit', visit)"


def lay_out(app: AppState) -> gr.Blocks:
    """Build all widgets and events; nothing is served yet."""
    minutes = app.settings.session_minutes
    with gr.Blocks(
        title=TITLE,
        analytics_enabled=False,
        delete_cache=(60, int(minutes * 60) + 60),  # for Gradio's own files, which no session deletes
    ) as blocks:
        session = gr.State(app.sessions.begin())  # Gradio copies it for every user, which starts a new session
        gr.Markdown(f"# {TITLE}\n{LEAD}", elem_id="lead")
        status = gr.HTML(elem_id="status")  # of all live controls, on every tab
        gr.HTML(page_script.NOTICE, elem_id="notice-line")
        visit = gr.Textbox("", visible="hidden", label="visit", elem_id="visit")
        at_work = gr.Textbox("", visible="hidden", label="batch", elem_id="batch-at-work")
        with gr.Tabs():  # a tab is one module of relatent/web/tabs with its actions
            with gr.Tab("Photo", id="photo") as photo_view:
                photo = photo_tab.build(app, session, status)
            with gr.Tab("Drag", id="drag") as drag_view:
                drag = drag_tab.build(app, session, status)
            with gr.Tab("Mix", id="mix") as mix_view:
                mix = mix_tab.build(app, session, status)
            with gr.Tab("Batch", id="batch"):
                batch = batch_tab.build(app, session, status)
            with gr.Tab("Explore", id="explore") as explore_view:
                explore = explore_tab.build(app, session, status)
            with gr.Tab("About", id="about"):
                about_tab.build(app)
        photo_view.select(  # fires when the page loads, too
            photo.show, photo.inputs, photo.outputs, api_visibility="private", show_progress="hidden", queue=False
        )
        drag_view.select(drag.show, drag.inputs, drag.outputs, api_visibility="private", show_progress="hidden")
        mix_view.select(mix.show, mix.inputs, mix.outputs, api_visibility="private", show_progress="hidden")
        explore_view.select(
            explore.show, explore.inputs, explore.outputs, api_visibility="private", show_progress="hidden"
        )
        api.add(app, session)
        mix_api.add(app, session)

        def arrive(own: Any, token: str | None, request: gr.Request) -> tuple[Any, str, str]:
            found = app.sessions.again(token) or own
            app.sessions.arrive(found, str(request.session_hash))
            return found, found.token, found.token if found.batch is not None else ""

        def leave(request: gr.Request) -> None:
            app.sessions.leave(str(request.session_hash))

        quiet: dict[str, Any] = {"api_visibility": "private", "queue": False, "show_progress": "hidden"}
        # Nothing here goes through Gradio's queue unless a batch is at work: its browser code may lose the answer to a
        # photo that is dropped while another event of the queue ends.
        blocks.load(arrive, [session, visit], [session, visit, at_work], js=RETURNING, **quiet).then(
            None, [visit], None, js=REMEMBER, **quiet
        ).then(photo.show, photo.inputs, photo.outputs, **quiet)
        at_work.change(batch.show, batch.inputs, batch.outputs, concurrency_limit=None, **{**quiet, "queue": True})
        blocks.unload(leave)
        _without_trackers(blocks, visit)
    # Jobs wait in the page's own queue, which shows their position; Gradio's limits would make them wait twice.
    blocks.queue(default_concurrency_limit=None, api_open=False)
    return blocks


def _without_trackers(blocks: gr.Blocks, untracked: gr.Textbox) -> None:
    """Move the progress of events that show none to one hidden widget.

    In Gradio 6, each output of an event at work counts its seconds with every frame of the browser, shown or not, which
    takes a dragged slider a tenth of its time.
    """
    for event in blocks.fns.values():
        if event.show_progress == "hidden":
            event.show_progress_on = [untracked]
