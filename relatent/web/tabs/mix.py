"""The Mix tab: style mixing of faces, a grid of all pairs, and morph videos."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path, PurePath
from typing import Any

import gradio as gr
import numpy as np

from editing.layers import layer_numbers
from inversion import Inversion
from relatent.core.errors import Cancelled, RelatentError, UsageError
from relatent.web.actions.download import KINDS, Download, write_download
from relatent.web.actions.edit import History
from relatent.web.actions.latent_files import open_latents
from relatent.web.actions.mix import LARGEST_GRID, MOST_FRAMES, SWITCHES, Source, grid_picture, mixed, write_faces_morph
from relatent.web.actions.results import changed, shown
from relatent.web.errors import handler, in_page_words, reported, status_text
from relatent.web.pictures import figure, figures, smooth
from relatent.web.queue import Report, follow
from relatent.web.session import Kept, Session
from relatent.web.state import AppState
from relatent.web.tabs.download_buttons import downloads, hidden_download
from relatent.web.tabs.photo import status_html
from relatent.web.tabs.tab import Tab
from relatent.web.tabs.widgets import ClampedSlider
from relatent.web.uploads import check_upload

HOLDS = {
    "coarse": "Coarse: pose, shape of the face",
    "middle": "Middle: features, hair, eyes",
    "fine": "Fine: colours, fine detail",
}
NOBODY = ("Nobody", "")
HINT = '<p class="relatent-lead">Two faces are needed: choose photos in the first tab, or add latent files.</p>'
FILES = ("photo", "face-png", "latent", "inversion")
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def build(app: AppState, session: gr.State, status: gr.HTML) -> Tab:
    """Build the widgets and events of the tab."""

    def write(kind: str) -> Callable[..., Download]:
        def mixed_file(own: Session, base: str, *controls: Any) -> Download:
            return write_download(app, own, _mixed(app, own, base, controls), kind)

        return mixed_file

    gr.Markdown("One face takes over the pose and shape, the features, or the colours of another.")
    gallery = gr.HTML(HINT, elem_id="mix-faces")
    add = gr.UploadButton(
        "Add latent files (inversion.safetensors, .npz, .npy, .pt)", file_count="multiple", size="sm", elem_id="mix-add"
    )
    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            base = gr.Dropdown([NOBODY], value="", label="The face that is changed", elem_id="mix-base")
            sources = [*_source(app, "Whose styles come in", "mix-first", ("coarse",))]
            with gr.Accordion("And a third face", open=False):
                sources += _source(app, "Whose styles come in on top", "mix-second", ("fine",))
        with gr.Column(scale=6, min_width=300, elem_classes="relatent-result"):
            picture = gr.HTML(HINT, elem_id="mix-picture", elem_classes="relatent-live")
            controls = [session, base, *sources]
            with gr.Row():
                files = {kind: _file_button(kind) for kind in FILES}
            keep = gr.Button(
                "Keep the mixed face, to edit it further", size="sm", interactive=False, elem_id="mix-keep"
            )
            kept = gr.Markdown(elem_id="mix-kept")
            saved = hidden_download("mix-saved")
            for kind, button in files.items():
                downloads(button, write(kind), controls, saved, status)
    chosen = gr.Dropdown(
        [], value=[], multiselect=True, label="Faces of the grid and of the morph, in this order", elem_id="mix-chosen"
    )
    _grid_widgets(app, session, status, chosen, sources)
    _morph_widgets(app, session, status, chosen)

    drawn = [picture, *files.values(), keep]
    draw, show = _drawing(app), handler(_showing(app))
    outputs = [gallery, base, sources[0], sources[3], chosen, *drawn]
    inputs = [session, chosen, base, *sources]
    moves = [one.input for one in [base, *sources]]
    gr.on(
        moves, reported(draw, drawn, status), controls, [*drawn, status], trigger_mode="always_last",
        queue=False, **QUIET,
    )  # fmt: skip
    add.upload(reported(_adding(app), [], status), [session, add], [status], api_visibility="private").then(
        show, inputs, outputs, **QUIET
    )
    keep.click(reported(_keeping(app), [kept], status), controls, [kept, status], **QUIET).then(
        show, inputs, outputs, **QUIET
    )
    return Tab(show, inputs, outputs)


def _source(app: AppState, label: str, name: str, on: tuple[str, ...]) -> list[Any]:
    """The controls of a source: face, styles and strength."""
    known = [(text, switch) for switch, text in HOLDS.items() if _has(app, switch)]
    value = [switch for switch in on if switch in [switch for _, switch in known]]
    return [
        gr.Dropdown([NOBODY], value="", label=label, elem_id=f"{name}-face"),
        gr.CheckboxGroup(known, value=value, label="Styles", elem_id=f"{name}-styles"),
        ClampedSlider(0, 1, 1, step=0.05, label="Strength", buttons=["reset"], elem_id=f"{name}-strength"),
    ]


def _file_button(kind: str) -> gr.Button:
    """Off until there is a mixed face; the photo's is hidden where there is no photo."""
    return gr.Button(
        KINDS[kind], variant="primary" if kind == "photo" else "secondary", size="sm", min_width=110,
        visible=kind != "photo", interactive=False, elem_id=f"mix-get-{kind}",
    )  # fmt: skip


def _has(app: AppState, layers: str) -> bool:
    try:
        return bool(layer_numbers(layers, app.network.num_ws))
    except UsageError:
        return False


def _grid_widgets(
    app: AppState, session: gr.State, status: gr.HTML, chosen: gr.Dropdown, sources: Sequence[Any]
) -> None:
    with gr.Accordion("Grid: every face with every other's styles", open=False):
        draw = gr.Button(f"Draw the grid (up to {LARGEST_GRID} faces)", size="sm", elem_id="mix-grid")
        grid = gr.HTML(elem_id="mix-grid-picture")
        file = gr.DownloadButton("Download the grid, PNG", size="sm", visible=False, elem_id="mix-grid-file")

    def drawn(own: Session, keys: list[str], switches: list[str], strength: float) -> tuple[str, Any]:
        faces = [_now(app, own, key) for key in keys or []]
        with app.network_lock.quick():
            picture = grid_picture(faces, app.network, switches, strength)
        path = own.new_file("grid.png")
        picture.save(path)
        text = f"{', '.join(switches)} styles of the top row's faces, in the faces of the left column"
        return figures(figure(np.asarray(picture), text, "photo")), gr.update(value=str(path), visible=True)

    outputs = [grid, file]
    draw.click(reported(drawn, outputs, status), [session, chosen, sources[1], sources[2]], [*outputs, status], **QUIET)


def _morph_widgets(app: AppState, session: gr.State, status: gr.HTML, chosen: gr.Dropdown) -> None:
    with gr.Accordion("Morph: a video from face to face", open=False):
        with gr.Row():
            frames = ClampedSlider(12, MOST_FRAMES, 60, step=12, label="Frames", min_width=140, elem_id="morph-frames")
            fps = ClampedSlider(5, 50, 24, step=1, label="Frames a second", min_width=140)
            kind = gr.Radio(["mp4", "gif"], value="mp4", label="File", min_width=140, elem_id="morph-kind")
            loop = gr.Checkbox(False, label="Return to the first face", min_width=140)
        start = gr.Button("Draw the morph", size="sm", elem_id="morph")
        cancel = gr.Button("Cancel", variant="stop", size="sm", visible=False, elem_id="morph-cancel")
        progress = gr.HTML(elem_id="morph-status")
        video = gr.Video(
            label="Morph", height=384, visible=False, interactive=False, autoplay=True, loop=True, elem_id="morph-video"
        )
        moving = gr.Image(
            label="Morph", height=384, visible=False, interactive=False, type="filepath", elem_id="morph-picture"
        )
        file = gr.DownloadButton("Download the morph", size="sm", visible=False, elem_id="morph-file")
    outputs = [start, cancel, progress, video, moving, file]
    start.click(
        reported(_morphing(app, outputs), outputs, status), [session, chosen, frames, fps, kind, loop],
        [*outputs, status], trigger_mode="once", concurrency_limit=None, **QUIET,
    )  # fmt: skip
    cancel.click(_cancel, [session], None, queue=False, **QUIET)


def _cancel(session: Session) -> None:
    session.cancel()


def _morphing(app: AppState, outputs: list[Any]) -> Any:
    start, cancel, status, video, moving, file = outputs
    idle = {start: gr.update(visible=True), cancel: gr.update(visible=False)}

    async def run(
        session: Session, keys: list[str], frames: float, fps: float, kind: str, loop: bool
    ) -> AsyncIterator[dict[Any, Any]]:
        faces = [_now(app, session, key) for key in keys or []]
        path = session.new_file(f"morph.{kind}")

        def task(report: Report) -> None:
            def progress(done: int, total: int) -> bool:
                return report(done, total, "drawing the morph")

            write_faces_morph(
                faces, path, app.network, frames=int(frames), fps=fps, loop=loop, progress=progress
            )  # fmt: skip

        job = app.queue.start(task, session)
        busy = {start: gr.update(visible=False), cancel: gr.update(visible=True)}
        yield busy
        try:
            async for news in follow(job):
                yield {**busy, status: status_html(news)}
            job.result()
        except Cancelled:
            yield {**idle, status: status_text("Cancelled; nothing was kept.")}
            return
        except RelatentError:
            yield {**idle, status: ""}
            raise
        yield {
            **idle,
            status: status_text(f"{int(frames)} frames drawn."),
            video: gr.update(value=str(path) if kind == "mp4" else None, visible=kind == "mp4"),
            moving: gr.update(value=str(path) if kind == "gif" else None, visible=kind == "gif"),
            file: gr.update(value=str(path), visible=True),
        }

    return run


def _now(app: AppState, session: Session, key: str | None) -> Inversion:
    """A face of the session with its edits of the Edit tab."""
    return changed(app, session.chosen(key))


def _mixed(app: AppState, session: Session, base: str, controls: Sequence[Any]) -> Kept:
    """The mixed face of the controls, which are triples of a face's key, its switches and its strength.

    Returns:
        The mixed face, which is not stored in the session.
    """
    sources = [
        Source(_now(app, session, key), tuple(one for one in SWITCHES if one in switches), strength)
        for key, switches, strength in zip(controls[::3], controls[1::3], controls[2::3], strict=True)
        if key
    ]
    one = session.chosen(base or None)
    inversion = mixed(changed(app, one), sources)
    return dataclasses.replace(one, key="", stem=f"{one.stem}-mixed", inversion=inversion, history=History())


def _drawing(app: AppState) -> Any:
    def draw(session: Session, base: str, *controls: Any) -> list[Any]:
        return _picture(app, session, base, controls)

    return draw


def _picture(app: AppState, session: Session, base: str, controls: Sequence[Any]) -> list[Any]:
    """The mixed face, and the photo with it, as HTML; a hint if nothing can be mixed yet. Then the buttons' states."""
    others = [key for key, switches in zip(controls[::3], controls[1::3], strict=True) if key and switches]
    if not base or not others:
        hint = HINT if len(session.kept) < 2 else _say("Choose a face whose styles come in, and which of them.")
        return [hint, *_buttons(ready=False, photo=False)]
    found = shown(app, _mixed(app, session, base, controls))
    photo = "" if found.photo is None else figure(found.photo, "the whole photo", "photo")
    html = figures(photo, figure(smooth(found.face), "the mixed face"))
    return [html, *_buttons(ready=True, photo=found.photo is not None)]


def _buttons(*, ready: bool, photo: bool) -> list[Any]:
    """States of the buttons of ``FILES`` and of Keep."""
    states = [gr.update(interactive=ready, visible=photo or not kind.startswith("photo")) for kind in FILES]
    return [*states, gr.update(interactive=ready)]


def _say(text: str) -> str:
    return f'<p class="relatent-lead">{text}</p>'


def _showing(app: AppState) -> Any:
    def show(session: Session, chosen: list[str], base: str, *controls: Any) -> list[Any]:
        """Update all choices of faces; valid choices are kept, and others set to the newest faces."""
        keys = list(session.kept)
        named = [(one.label, key) for key, one in session.kept.items()]
        base = base if base in session.kept else (keys[-1] if keys else "")
        others = [key for key in keys if key != base]
        first = controls[0] if controls[0] in session.kept else (others[-1] if others else "")
        second = controls[3] if controls[3] in session.kept else ""
        chosen = [key for key in chosen or [] if key in session.kept]
        chosen += [key for key in keys if key not in chosen] if len(chosen) < 2 else []
        strip = [figure(smooth(one.aligned, 128), one.label, "small") for one in session.kept.values()]
        return [
            figures(*strip) if strip else HINT,
            gr.update(choices=[NOBODY, *named], value=base),
            gr.update(choices=[NOBODY, *named], value=first),
            gr.update(choices=[NOBODY, *named], value=second),
            gr.update(choices=named, value=chosen[:LARGEST_GRID]),
            *_picture(app, session, base, [first, *controls[1:3], second, *controls[4:]]),
        ]

    return show


def _keeping(app: AppState) -> Any:
    def keep(session: Session, base: str, *controls: Any) -> str:
        one = _mixed(app, session, base, controls)
        more = {"photo": one.photo, "factor": one.factor, "label": f"{one.label}, mixed"}
        kept = session.keep(one.inversion, one.aligned, one.stem, **more)
        return f"Kept as **{kept.label}**: it is on the Photo tab now."

    return keep


def _adding(app: AppState) -> Any:
    def add(session: Session, uploads: list[str] | None) -> None:
        """Add all readable latents to the session; show the errors of the others."""
        reasons = []
        for upload in uploads or []:
            try:
                path = session.take_upload(check_upload(Path(upload), app.settings.limits))
                with app.network_lock.quick():
                    faces = open_latents(path, app.network)
                for face in faces:
                    label = path.name if len(faces) == 1 else face.photo
                    session.keep(face, app.draw(face), PurePath(label).stem, label=label)
            except RelatentError as error:
                reasons.append(error)
        if reasons:
            raise UsageError(" ".join(map(in_page_words, reasons)))

    return add
