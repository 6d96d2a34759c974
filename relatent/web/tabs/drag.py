"""The Drag tab: points of the face are marked and dragged, inside a painted mask if there is one."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from editing.dragging.run import Dragged
from editing.dragging.search import DragStep
from editing.pasting import DEFAULT_BLEND
from relatent.core.errors import Cancelled
from relatent.web.actions.drag import Marks, Measuring, account, add_drag, drag_face, marks_at, square_of
from relatent.web.actions.results import changed
from relatent.web.drag_script import OVERLAY, SHOW
from relatent.web.errors import reported, status_text
from relatent.web.pictures import figure, figures, smooth
from relatent.web.queue import Report, follow
from relatent.web.session import Kept, Session
from relatent.web.state import AppState
from relatent.web.tabs.edit import PRIVATE
from relatent.web.tabs.tab import Tab

HINT = figures('<p class="relatent-lead">No face yet: choose a photo on the Photo tab first.</p>')
HOW = (
    "Touch a place of the face, then touch where it is to go; or draw from one to the other. Points can be moved. "
    "Paint a mask to keep everything outside it still. The whole photo is on the Photo tab, with the same undo."
)
NEWS_SECONDS = PICTURE_SECONDS = 0.2
FIELDS = ("Start, across", "Start, down", "End, across", "End, down")


def build(app: AppState, session: gr.State, status: gr.HTML) -> Tab:
    """Build the widgets and events of the tab."""
    with gr.Row(elem_classes="relatent-screen"):
        with gr.Column(scale=6, min_width=300, elem_classes="relatent-main"):
            with gr.Column(elem_id="drag-stage"):
                picture = gr.HTML(HINT, elem_id="drag-picture")
                gr.HTML(OVERLAY, elem_id="drag-above")
            with gr.Row(elem_classes="relatent-tools"):
                start = gr.Button("Start", variant="primary", size="sm", min_width=70, elem_id="drag-start")
                stop = gr.Button("Stop", size="sm", min_width=60, elem_id="drag-stop", interactive=False)
                undo = gr.Button("Undo", size="sm", min_width=60, elem_id="drag-undo")
                reset = gr.Button("Reset", size="sm", min_width=60, elem_id="drag-reset")
        with gr.Column(scale=4, min_width=300, elem_classes="relatent-side"):
            gr.Markdown(HOW)
            mode = [("Mark points", "points"), ("Paint the mask", "mask")]
            # Only the script reads these two, and Gradio disables what no handler reads.
            gr.Radio(mode, value="points", label="What the pointer does", interactive=True, elem_id="drag-mode")
            gr.Slider(1, 20, 6, step=1, label="Brush, in % of the face", interactive=True, elem_id="drag-brush")
            with gr.Row(elem_classes="relatent-tools"):
                remove = gr.Button("Remove the last point", size="sm", min_width=120, elem_id="drag-remove")
                clear = gr.Button("Clear the mask", size="sm", min_width=120, elem_id="drag-clear")
            with gr.Accordion("Points by numbers", open=False, elem_id="drag-numbers"):
                gr.Markdown("In % of the square: 0 is left or top, 100 right or bottom.")
                with gr.Row():
                    fields = [
                        gr.Number(50, label=text, min_width=110, elem_id=f"drag-field-{index}")
                        for index, text in enumerate(FIELDS)
                    ]
                add = gr.Button("Add this point", size="sm", elem_id="drag-add")
            marks = gr.Textbox("", visible="hidden", label="marks", elem_id="drag-marks")
    tab = _Handlers(app, _Widgets(picture, marks, start, stop, status))
    outputs = [picture, marks, start, stop]

    def on(event: Any, function: Any, inputs: list[Any], **options: Any) -> None:
        event(reported(function, outputs, status), inputs, [*outputs, status], **{"queue": False, **PRIVATE, **options})

    marks.change(None, [marks], None, js=SHOW, **PRIVATE)
    on(start.click, tab.start, [session, marks], queue=True, concurrency_limit=None, trigger_mode="once")
    stop.click(_stop, [session], None, queue=False, **PRIVATE)
    on(undo.click, tab.undo, [session])
    on(reset.click, tab.reset, [session])
    on(add.click, tab.add, [session, marks, *fields])
    on(remove.click, tab.remove, [session, marks])
    on(clear.click, tab.clear, [session, marks])
    return Tab(reported(tab.show, outputs, status), [session], [*outputs, status])


def _stop(session: Session) -> None:
    session.cancel()


@dataclass
class _Widgets:
    """The widgets that a drag updates."""

    picture: gr.HTML
    marks: gr.Textbox
    start: gr.Button
    stop: gr.Button
    status: gr.HTML


class _Handlers:
    """The event handlers."""

    def __init__(self, app: AppState, to: _Widgets) -> None:
        self.app, self.to = app, to
        self.measuring = Measuring(app)

    def show(self, session: Session) -> dict[Any, Any]:
        """The session's current face."""
        if session.current not in session.kept:
            return {self.to.picture: HINT, self.to.marks: ""}
        self.measuring.begin()  # while the visitor marks points
        return self._face(session, session.chosen())

    async def start(self, session: Session, text: str) -> AsyncIterator[dict[Any, Any]]:
        """Drag the face, and show it on the way."""
        one, marks, to = session.chosen(), Marks.read(text), self.to
        blend = session.memory.get("blend", DEFAULT_BLEND)
        before = changed(self.app, one)
        square = await asyncio.to_thread(square_of, self.app, one)
        size = self.app.network.resolution
        if not self.measuring.done:
            yield {to.start: gr.update(interactive=False), to.status: status_text("Getting ready \u2026")}
            await asyncio.to_thread(self.measuring.wait)

        def task(report: Report) -> Dragged:
            def seen(step: DragStep) -> bool:
                here = marks_at(step, marks, size)
                return report(
                    step.index, step.total, "Dragging", picture=lambda: square.picture(step.face, blend), details=here
                )

            return drag_face(self.app, one, marks, seen)

        job = self.app.queue.start(task, session, PICTURE_SECONDS)
        busy = {to.start: gr.update(interactive=False), to.stop: gr.update(interactive=True)}
        yield busy
        idle = {to.start: gr.update(interactive=True), to.stop: gr.update(interactive=False)}
        try:
            async for news in follow(job, NEWS_SECONDS):
                waiting = f"Waiting: {news.ahead} before yours." if news.ahead else f"Dragging: step {news.done:g}."
                found: dict[Any, Any] = {**busy, to.status: status_text(waiting)}
                if news.picture is not None:
                    found[to.picture] = _html(news.picture)
                if news.details is not None:
                    found[to.marks] = news.details.text()
                yield found
            result = job.result()
        except Cancelled:
            yield {**idle, to.status: status_text("Stopped before it began; the face stays as it was.")}
            return
        except Exception:
            yield idle
            raise
        add_drag(self.app, one, before, marks, result)
        left = () if result.reason == "arrived" else _left(marks, result, size)
        yield {
            **idle,
            **await asyncio.to_thread(self._face, session, one),
            to.marks: dataclasses.replace(marks, pairs=left).text(),
            to.status: status_text(account(result, size)),
        }

    def undo(self, session: Session) -> dict[Any, Any]:
        """One step back, of drags and of the Photo tab's edits alike."""
        one = session.chosen()
        one.history.undo()
        return self._face(session, one)

    def reset(self, session: Session) -> dict[Any, Any]:
        """All drags and marks go; other edits stay."""
        one = session.chosen()
        one.history.add(dataclasses.replace(one.history.now, drags=()))
        return {**self._face(session, one), self.to.marks: Marks().text()}

    def add(self, _: Session, text: str, *values: Any) -> dict[Any, Any]:
        return {self.to.marks: Marks.read(text).with_pair(values).text()}

    def remove(self, _: Session, text: str) -> dict[Any, Any]:
        return {self.to.marks: Marks.read(text).without_last().text()}

    def clear(self, _: Session, text: str) -> dict[Any, Any]:
        return {self.to.marks: dataclasses.replace(Marks.read(text), strokes=()).text()}

    def _face(self, session: Session, one: Kept) -> dict[Any, Any]:
        blend = session.memory.get("blend", DEFAULT_BLEND)
        square = square_of(self.app, one)
        with self.app.network_lock.quick():
            picture = square.picture(changed(self.app, one), blend)
        return {self.to.picture: _html(picture)}


def _left(marks: Marks, result: Dragged, size: int) -> tuple[Any, ...]:
    """The points that a drag has not brought home, from where they are, to go on."""
    here = (result.points + 0.5) / size
    return tuple((float(x), float(y), *pair[2:]) for (x, y), pair in zip(here, marks.pairs, strict=True))


def _html(pixels: Any) -> str:
    return figures(figure(smooth(pixels, 512), "the face's square of the photo", "face"))
