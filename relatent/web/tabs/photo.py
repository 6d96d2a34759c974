"""The Photo tab: upload of a photo, choice of a face, and its inversion."""

from __future__ import annotations

import html
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from inversion import InvertConfig
from inversion.losses.perceptual import BACKBONES
from inversion.presets import DEFAULT_PRESET, DEFAULT_SEED
from inversion.project import demo_photo
from relatent.core.errors import Cancelled, RelatentError, UsageError
from relatent.web.actions.faces import DetectedFaces, face_at, faces_of, outlined
from relatent.web.actions.invert import Inverted, inverting
from relatent.web.actions.results import write_screen_copy
from relatent.web.errors import handler
from relatent.web.pictures import figure, figures, for_screen, smooth
from relatent.web.queue import Progress, follow
from relatent.web.session import Session
from relatent.web.state import AppState
from relatent.web.tabs.edit import EditTab
from relatent.web.uploads import read_upload

MEMORY = "photo"  # key in Session.memory of the DetectedFaces
PRESET_TEXTS = {
    "fast": "Fast: a rough likeness at once",
    "balanced": "Balanced: a good likeness",
    "best": "Best: closer still, takes three times as long",
    "paper": "Paper: the StyleGAN2 paper's projector, for comparison",
}
QUICK = {"Smile": ("smile", 1.0), "Look serious": ("smile", -1.0), "Older": ("age", 1.0), "Younger": ("age", -1.0)}


@dataclass
class PhotoTab:
    """The interface for events of other tabs.

    Attributes:
        inverted: the event of a finished inversion.
        to_edit: the button that opens the Edit tab.
        quick: buttons of single edits, with direction and strength.
    """

    inverted: Any
    to_edit: gr.Button
    quick: dict[gr.Button, tuple[str, float]]


def build(app: AppState, session: gr.State) -> PhotoTab:
    """Build the widgets and events of the tab, except those that lead to other tabs."""
    with gr.Row():
        with gr.Column(scale=5, min_width=300):
            photo = gr.Image(
                label="Your photo", type="filepath", sources=["upload", "webcam", "clipboard"], height=380,
                image_mode=None, elem_id="photo", buttons=["fullscreen"],
                placeholder="Drop a photo of a face here, or click to choose one",
            )  # fmt: skip
            photo.preprocess = _as_uploaded  # type: ignore[method-assign]
            example = gr.Button("Use an example photo", size="sm", elem_id="example")
            note = gr.Markdown(elem_id="photo-note")
            face = gr.Radio(label="Which face?", choices=[], visible=False, elem_id="face")
        with gr.Column(scale=4, min_width=300):
            known = [(PRESET_TEXTS[name], name) for name in app.presets]
            preset = gr.Radio(known, value=DEFAULT_PRESET, label="How much work is it worth?", elem_id="preset")
            with gr.Accordion("Advanced", open=False):
                advanced = _advanced()
            invert = gr.Button("Invert", variant="primary", size="lg", elem_id="invert")
            cancel = gr.Button("Cancel", variant="stop", visible=False, elem_id="cancel")
            status = gr.HTML(elem_id="status")
            drawing = gr.HTML(elem_id="drawing")
    with gr.Column(visible=False, elem_id="result") as result:
        gr.Markdown("## Your face in the network")
        strip = gr.HTML(elem_id="strip")
        with gr.Row():
            buttons = {
                gr.Button(text, elem_id=f"quick-{text.split()[-1].lower()}"): change
                for text, change in QUICK.items()
                if change[0] in app.directions
            }
        to_edit = gr.Button("Change this face", variant="primary", elem_id="to-edit")
        compare = gr.ImageSlider(
            label="Before and after", interactive=False, type="filepath",
            max_height=360,
            height=360, buttons=["fullscreen"], elem_id="compare",
        )  # fmt: skip
        with gr.Accordion("Measures", open=False):
            facts = gr.JSON(label="Measures", show_label=False)

    detect = _detecting(app, photo, face, note)
    found_outputs = [photo, face, note]
    photo.input(detect, [session, photo], found_outputs, api_visibility="private").failure(
        lambda: (None, gr.update(visible=False), ""), None, found_outputs, api_visibility="private"
    )
    example.click(_example(detect), [session], found_outputs, api_visibility="private")
    face.input(_choosing(app), [session, face], [photo], api_visibility="private", show_progress="hidden")
    photo.select(_clicking(app), [session], [photo, face], api_visibility="private", show_progress="hidden")
    outputs = [invert, cancel, status, drawing, result, strip, compare, facts]
    run = _inverting(app, dict(zip(NAMES, outputs, strict=True)))
    inverted = invert.click(
        run, [session, preset, *advanced], outputs, api_visibility="private", show_progress="hidden",
        concurrency_limit=None, trigger_mode="once",
    )  # fmt: skip
    cancel.click(_cancel, [session], None, api_visibility="private", queue=False, show_progress="hidden")
    return PhotoTab(inverted, to_edit, buttons)


def connect(photo: PhotoTab, edit: EditTab, tabs: gr.Tabs, session: gr.State) -> None:
    """Connect the events that lead from a finished inversion to the Edit tab."""

    def go() -> Any:
        return gr.Tabs(selected="edit")

    options: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    photo.inverted.success(edit.show, [session], edit.outputs, **options)
    photo.to_edit.click(go, None, tabs, **options).then(edit.show, [session], edit.outputs, **options)
    for button, (name, strength) in photo.quick.items():
        button.click(go, None, tabs, **options).then(edit.set_to(name, strength), [session], edit.outputs, **options)


NAMES = ("invert", "cancel", "status", "drawing", "result", "strip", "compare", "facts")


def _advanced() -> list[Any]:
    """The advanced controls, in the order of the arguments of :func:`_choices`."""
    return [
        gr.Number(0, label="Steps of the optimiser (0: the preset's own)", precision=0, minimum=0, maximum=5000),
        gr.Dropdown([("The preset's own", ""), "w", "w+"], value="", label="Space: one latent for all layers, or each"),
        gr.Number(DEFAULT_SEED, label="Seed of the noise", precision=0, minimum=0),
        gr.Dropdown(list(BACKBONES), value="embedded", label="LPIPS backbone: whose features the loss compares"),
        gr.Checkbox(False, label="Restrict the loss to the face (mask)"),
        gr.Checkbox(True, label="Detect and align the face (off: use the centre square)"),
    ]


def _choices(
    preset: str, steps: float, space: str, seed: float, lpips: str, masked: bool, align: bool
) -> dict[str, Any]:
    """The fields of InvertConfig from the widgets' values; 0 steps and an empty space mean the preset's own."""
    return {
        "preset": preset,
        "num_steps": int(steps or 0) or None,
        "space": space or None,
        "seed": int(seed or 0),
        "lpips": lpips,
        "mask": "auto" if masked else None,
        "align": align,
    }


def _as_uploaded(payload: Any) -> str | None:
    """The path of the upload; Gradio would decode it first, without the page's limits and error messages."""
    return None if payload is None else payload.path


def _detecting(app: AppState, photo: gr.Image, face: gr.Radio, note: gr.Markdown) -> Any:
    @handler
    def detect(session: Session, path: str | None) -> dict[Any, Any]:
        if not path:
            session.memory.pop(MEMORY, None)
            return {photo: None, face: gr.update(choices=[], visible=False), note: ""}
        copy = session.take_upload(Path(path))
        source = read_upload(copy, app.settings.limits)
        session.memory[MEMORY] = DetectedFaces(copy, copy.name)  # photos without a face can be inverted unaligned
        write_screen_copy(source, copy)
        faces = faces_of(source)
        session.memory[MEMORY] = found = DetectedFaces(copy, copy.name, faces)
        several = len(faces) > 1
        names = [
            (f"Face {number}" + (" (largest)" if number == 1 else ""), number) for number in range(1, len(faces) + 1)
        ]
        text = f"{len(faces)} faces found. Choose one, or click on it." if several else "One face found."
        return {
            photo: _outlined(session, found, source.pixels),
            face: gr.update(choices=names, value=1, visible=several),
            note: f"{text} {source.note}".strip(),
        }

    return detect


def _example(detect: Any) -> Any:
    def take(session: Session) -> Any:
        path = demo_photo()
        return detect(session, str(path))

    return handler(take)


def _outlined(session: Session, found: DetectedFaces, pixels: Any) -> str:
    """Write the photo with its faces outlined to a file of the session; returns its path."""
    path = session.new_file("outlined.jpg")
    Image.fromarray(outlined(pixels, found.faces, found.chosen)).save(path, quality=92)
    return str(path)


def _choosing(app: AppState) -> Any:
    @handler
    def choose(session: Session, number: int | None) -> Any:
        return _with_chosen(app, session, number)

    return choose


def _clicking(app: AppState) -> Any:
    @handler
    def click(session: Session, event: gr.SelectData) -> Any:
        found = session.memory.get(MEMORY)
        if found is None or len(found.faces) < 2:
            return gr.skip(), gr.skip()
        pixels = read_upload(found.path, app.settings.limits).pixels
        number = face_at(tuple(event.index), pixels, found.faces)
        return (gr.skip(), gr.skip()) if number is None else (_with_chosen(app, session, number), number)

    return click


def _with_chosen(app: AppState, session: Session, number: int | None) -> Any:
    found = session.memory.get(MEMORY)
    if found is None or not number:
        return gr.skip()
    session.memory[MEMORY] = found = DetectedFaces(found.path, found.name, found.faces, number)
    return _outlined(session, found, read_upload(found.path, app.settings.limits).pixels)


def _cancel(session: Session) -> None:
    session.cancel()


def _inverting(app: AppState, to: dict[str, Any]) -> Any:
    idle = {to["invert"]: gr.update(visible=True), to["cancel"]: gr.update(visible=False), to["drawing"]: ""}

    @handler
    async def run(session: Session, preset: str, *advanced: Any) -> AsyncIterator[dict[Any, Any]]:
        found = session.memory.get(MEMORY)
        if found is None:
            raise UsageError("there is no photo yet. Choose one first, or use the example.")
        config = InvertConfig(**_choices(preset, *advanced), face=found.chosen)
        photo = read_upload(found.path, app.settings.limits, found.name)
        job = app.queue.start(inverting(app, photo, found, config), session)
        yield {to["invert"]: gr.update(visible=False), to["cancel"]: gr.update(visible=True), to["status"]: "Starting"}
        try:
            async for news in follow(job):
                picture = figure(smooth(news.picture), "so far") if news.picture is not None else ""
                yield {to["status"]: status_html(news), to["drawing"]: figures(picture) if picture else ""}
            inverted = job.result()
        except Cancelled:
            yield {**idle, to["status"]: status_text("Cancelled; nothing was kept.")}
            return
        except RelatentError:
            yield {**idle, to["status"]: ""}
            raise
        yield {**idle, **_shown(session, found, photo, config, inverted, to)}

    return run


def _shown(
    session: Session, found: DetectedFaces, photo: Any, config: InvertConfig, inverted: Inverted, to: dict[str, Any]
) -> dict[Any, Any]:
    """Store the inverted face in the session, and show it."""
    stem = Path(found.name).stem
    several = len(found.faces) > 1
    session.keep(
        inverted.inversion,
        inverted.aligned,
        f"{stem}-face{found.chosen}" if several and found.chosen > 1 else stem,
        label=f"{found.name}, face {found.chosen}" if several else found.name,
        photo=found.path,
        factor=for_screen(photo.pixels)[1],
        preset=config.preset,
        facts={**inverted.facts, "face": found.chosen, "num_steps": config.num_steps, "space": config.space},
    )
    before, after = session.new_file("photo-face.png"), session.new_file("inverted-face.png")
    Image.fromarray(smooth(inverted.aligned)).save(before)
    Image.fromarray(smooth(inverted.drawn)).save(after)
    strip = figures(
        figure(for_screen(photo.pixels, 640)[0], "photo"),
        figure(smooth(inverted.aligned), "aligned"),
        figure(smooth(inverted.drawn), "inverted"),
    )
    seconds = inverted.facts["seconds"]["total"]
    return {
        to["status"]: status_text(f"Done in {seconds:.0f} seconds. Now change the face below."),
        to["result"]: gr.update(visible=True),
        to["strip"]: strip,
        to["compare"]: (str(before), str(after)),
        to["facts"]: inverted.facts,
    }


def status_html(news: Progress) -> str:
    """The progress of a job as HTML, also for screen readers."""
    if news.ahead:
        others = "1 request is" if news.ahead == 1 else f"{news.ahead} requests are"
        return status_text(f"Waiting: {others} before yours.")
    if not news.total:
        return status_text(f"{news.text or 'starting'} …".capitalize())
    left = "" if news.seconds_left is None else f", about {max(1, round(news.seconds_left))} s left"
    text = f"{news.text}: step {news.done:g} of {news.total:g}{left}".capitalize()
    share = f'<progress max="{news.total:g}" value="{news.done:g}" aria-label="progress"></progress>'
    return f'<div class="relatent-status"><p>{html.escape(text)}</p>{share}</div>'


def status_text(text: str) -> str:
    return f'<div class="relatent-status" role="status"><p>{html.escape(text)}</p></div>'
