"""The Batch tab: inverts and edits many photos or a zip of them, and returns a zip of the results."""

from __future__ import annotations

import asyncio
import functools
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from editing.pasting import BLENDS
from inversion.presets import DEFAULT_PRESET
from relatent.core.errors import PhotoError
from relatent.core.wording import listed
from relatent.web.batch.run import DONE, FAILED, Batch, BatchOptions, Row
from relatent.web.batch.running import RunningBatch
from relatent.web.batch.table import CSV_HEADER, csv_rows, summary, table
from relatent.web.batch.zip_file import Unpacked, unpack_photos, write_results
from relatent.web.errors import reported, status_text
from relatent.web.queue import NEWS_SECONDS
from relatent.web.session import Session
from relatent.web.state import AppState
from relatent.web.tabs.direction_slider import clamped, direction_sliders
from relatent.web.tabs.photo import PRESET_TEXTS, status_html
from relatent.web.tabs.tab import Tab
from relatent.web.tabs.widgets import ClampedNumber
from relatent.web.uploads import Limits, check_count, check_upload

MOST_NAMED = 10  # skipped files of a zip that the status names
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


@dataclass
class _Widgets:
    """The widgets that a running batch updates."""

    start: gr.Button
    cancel: gr.Button
    status: gr.HTML
    rows: gr.HTML
    results: gr.DownloadButton

    def all(self) -> list[Any]:
        return [self.start, self.cancel, self.status, self.rows, self.results]


def build(app: AppState, session: gr.State, page_status: gr.HTML) -> Tab:
    """Build the widgets and events of the tab; returns what shows the batch of a visitor who comes back."""
    limits = app.settings.limits
    gr.Markdown(
        f"Up to {limits.photos} photos, as files or in a .zip. Each gets the edits that you choose. "
        "A photo that fails does not stop the others. You get one .zip with the finished photos, without the places "
        "where they were taken (GPS), and with the files for researchers."
    )
    with gr.Row():
        with gr.Column(scale=5, min_width=300):
            files = gr.File(label="Photos, or a .zip of photos", file_count="multiple", elem_id="batch-files")
            known = [(PRESET_TEXTS[name], name) for name in app.presets]
            preset = gr.Radio(known, value=DEFAULT_PRESET, label="Quality")
            with gr.Accordion("Advanced", open=False, elem_id="batch-advanced"):
                faces = gr.Radio(
                    [("The largest face", "largest"), ("Every face", "all")], value="largest", label="Of each photo"
                )
                steps = ClampedNumber(
                    0,
                    label="Steps of the optimiser (0: the preset's own)",
                    precision=0,
                    minimum=0,
                    maximum=5000,
                    elem_id="batch-steps",
                )
                blend = gr.Dropdown(list(BLENDS), value=BLENDS[0], label="How an edited face goes back into its photo")
        with gr.Column(scale=4, min_width=300), gr.Accordion("Edits for every face", open=True):
            edits = direction_sliders(app.directions, "batch")
    with gr.Row():
        start = gr.Button("Start", variant="primary", size="lg", elem_id="batch-start")
        cancel = gr.Button("Cancel", variant="stop", visible=False, elem_id="batch-cancel")
    widgets = _Widgets(
        start,
        cancel,
        gr.HTML(elem_id="batch-status"),
        gr.HTML(elem_id="batch-table"),
        gr.DownloadButton("Download all results (.zip)", visible=False, variant="primary", elem_id="batch-results"),
    )
    start.click(
        reported(_running(app, widgets, list(edits)), widgets.all(), page_status),
        [session, files, preset, faces, steps, blend, *edits.values()], [*widgets.all(), page_status],
        trigger_mode="once", concurrency_limit=None, **QUIET,
    )  # fmt: skip
    cancel.click(_cancel, [session], None, queue=False, **QUIET)
    outputs = [*widgets.all(), page_status]
    return Tab(reported(_coming_back(widgets), widgets.all(), page_status), [session], outputs)


def gather(uploads: list[Path], folder: Path, limits: Limits) -> Unpacked:
    """Collect uploaded photos and the photos in uploaded zips; unreadable members become errors in their place.

    Raises:
        UsageError: no photos, too many, or a zip beyond the limits.
        PhotoError: a zip cannot be read.
    """
    photos: list[Path | PhotoError] = []
    passed_over: list[str] = []
    for number, path in enumerate(uploads, start=1):
        check_upload(path, limits)
        if path.suffix.lower() != ".zip":
            photos.append(path)
            continue
        unpacked = unpack_photos(path, folder / f"zip{number}", limits)
        photos += unpacked.photos
        passed_over += unpacked.passed_over
    check_count(photos, limits)
    return Unpacked(tuple(photos), tuple(passed_over))


def _cancel(session: Session) -> None:
    session.cancel()


def _running(app: AppState, to: _Widgets, names: list[str]) -> Any:
    async def run(
        session: Session,
        uploads: list[str] | None,
        preset: str,
        faces: str,
        steps: float,
        blend: str,
        *strengths: float,
    ) -> AsyncIterator[dict[Any, Any]]:
        folder = session.new_file("batch")
        try:
            paths = [session.take_upload(Path(path)) for path in uploads or []]
            gathered = await asyncio.to_thread(gather, paths, folder, app.settings.limits)
            options = BatchOptions(
                preset=preset,
                num_steps=int(steps or 0) or None,
                face=faces,  # type: ignore[arg-type]
                strengths={name: clamped(value) for name, value in zip(names, strengths, strict=True) if value},
                blend=blend,  # type: ignore[arg-type]
                folders=app.settings.folders,
                max_pixels=app.settings.limits.pixels,
            )
            running = RunningBatch(
                Batch(gathered.photos, folder / "out", app.network, options),
                folder.parent,
                functools.partial(_packed, session),
                _others(gathered.passed_over),
            )
            running.start(app.queue, session)
        except BaseException:
            shutil.rmtree(folder.parent, ignore_errors=True)
            raise
        async for update in _watched(session, running, to):
            yield update

    return run


def _coming_back(to: _Widgets) -> Any:
    async def show_batch(session: Session) -> AsyncIterator[dict[Any, Any]]:
        """The batch of a visitor who comes back, as far as it is."""
        if isinstance(session.batch, RunningBatch):
            async for update in _watched(session, session.batch, to):
                yield update
        else:
            yield {to.cancel: gr.update(visible=False)}

    return show_batch


async def _watched(session: Session, running: RunningBatch, to: _Widgets) -> AsyncIterator[dict[Any, Any]]:
    """What the browser shows of a batch until its end. If the browser leaves, the batch goes on without it."""
    shown = -1
    busy = {
        to.start: gr.update(visible=False),
        to.cancel: gr.update(visible=True),
        to.results: gr.update(visible=False),
    }
    while running.ended is None:
        if shown != running.index:
            shown = running.index
            session.touch()
            yield {**busy, to.rows: table(running.batch.rows())}
        yield {**busy, to.status: _progress(running)}
        await asyncio.sleep(NEWS_SECONDS)
    idle = {to.start: gr.update(visible=True), to.cancel: gr.update(visible=False)}
    if running.error is not None:
        yield {**busy, **idle, to.status: ""}
        raise running.error
    rows, results = running.batch.rows(), running.results
    yield {
        **idle,
        to.status: status_text(f"{summary(rows).capitalize()}.{running.remark}"),
        to.rows: table(rows),
        to.results: gr.update(visible=results is not None, value=None if results is None else str(results)),
    }


def _progress(running: RunningBatch) -> str:
    """The status of a batch at work."""
    news = running.news()
    if news is None:
        return status_text("Waiting for a place in the queue …")
    name = running.batch.of_photo[running.index][0].name
    loss = "" if news.details is None else f", loss {news.details:.3f}"
    head = f"Photo {running.index + 1} of {len(running.batch.photos)}, {name}{loss}"
    return status_text(head) + status_html(news)


def _others(names: tuple[str, ...]) -> str:
    """A sentence on the skipped files of zips."""
    if not names:
        return ""
    what = "1 other file in the zip was" if len(names) == 1 else f"{len(names)} other files in the zip were"
    return f" {what} passed over: {listed(names, MOST_NAMED)}."


def _packed(session: Session, rows: tuple[Row, ...]) -> Path | None:
    """Write the zip of all results; None if there are none."""
    found = [row.folder for row in rows if row.state in (DONE, FAILED) and row.folder is not None]
    folders = {f"for researchers/{folder.name}": folder for folder in found}
    finished = [row.finished for row in rows if row.finished is not None]
    if finished:
        folders["photos"] = finished[0].parent
    if not folders:
        return None
    path = session.new_file("relatent-results.zip")
    write_results(folders, path, csv_rows(rows), CSV_HEADER)
    return path
