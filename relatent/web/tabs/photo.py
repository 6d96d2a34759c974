"""The Photo tab: a photo is dropped, its face is found and inverted by itself, and edited on the same screen.

The latent of the preset ``fast`` is shown at once. The chosen preset refines it in the background and replaces it; the
edits made meanwhile stay.

Finding the face, and each preset, is an event of its own, and what it changes on the screen is in its last message. A
slow browser may lose properties of the messages before (see :func:`relatent.web.errors.reported`).
"""

from __future__ import annotations

import asyncio
import html
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from inversion import InvertConfig
from inversion.losses.perceptual import BACKBONES
from inversion.presets import DEFAULT_PRESET, DEFAULT_SEED
from inversion.project import demo_photo
from relatent.core.errors import Cancelled, UsageError
from relatent.core.images import Photo
from relatent.web.actions.faces import DetectedFaces, faces_of, recognised
from relatent.web.actions.invert import Inverted, inverting
from relatent.web.actions.results import write_screen_copy
from relatent.web.errors import reported, status_text
from relatent.web.examples import examples_html
from relatent.web.pictures import figure, figures, for_screen
from relatent.web.queue import Progress, follow
from relatent.web.session import Kept, Session
from relatent.web.state import AppState
from relatent.web.tabs import edit as edit_tab
from relatent.web.tabs.edit import PRIVATE, EditTab
from relatent.web.tabs.tab import Tab
from relatent.web.tabs.widgets import ClampedNumber, UploadedImage
from relatent.web.uploads import read_upload

MEMORY = "photo"  # key in Session.memory of the DetectedFaces
WORK = "work"  # key of the Work in hand; a newer one replaces it
FIRST = "fast"  # the preset whose latent is shown at once
PRESETS = 2  # that a photo is inverted by at most: FIRST, and the chosen one
PRESET_TEXTS = {
    "fast": "Fast: a rough likeness at once",
    "balanced": "Balanced: a good likeness",
    "best": "Best: closer still, takes three times as long",
    "paper": "Paper: the StyleGAN2 paper's projector, for comparison",
}


@dataclass
class _Widgets:
    """The widgets that the work on a photo updates."""

    upload: gr.Column
    examples: gr.HTML
    stage: gr.Column
    sliders: gr.Column
    photo: gr.Image
    face: gr.Radio
    tags: gr.HTML
    start: gr.Button
    cancel: gr.Button
    facts: gr.JSON
    status: gr.HTML

    def all(self) -> list[Any]:
        return [
            self.upload,
            self.examples,
            self.stage,
            self.sliders,
            self.photo,
            self.face,
            self.tags,
            self.start,
            self.cancel,
            self.facts,
        ]


def build(app: AppState, session: gr.State, status: gr.HTML) -> Tab:
    """Build the widgets and events of the tab."""
    with gr.Row(elem_classes="relatent-screen"):
        with gr.Column(scale=6, min_width=300, elem_classes="relatent-main"):
            with gr.Column(elem_id="upload") as upload:
                photo = UploadedImage(
                    label="Your photo", show_label=False, type="filepath", sources=["upload", "webcam", "clipboard"],
                    height=300, image_mode=None, elem_id="photo", buttons=[],
                    placeholder="Drop a photo of a face here\n- or -\nclick to choose one",
                )  # fmt: skip
                example = gr.Button("Try it with an example photo", elem_id="example")
            with gr.Column(visible=False, elem_id="stage") as stage_column:
                tags = gr.HTML("", elem_id="tags")
                stage = edit_tab.build_stage(app)
                face = gr.Radio(label="Which face?", choices=[], visible=False, elem_id="face")
                with gr.Row():
                    other = gr.Button("Another photo", size="sm", elem_id="another")
                    cancel = gr.Button("Cancel", variant="stop", size="sm", visible=False, elem_id="cancel")
        with gr.Column(scale=4, min_width=300, elem_classes="relatent-side", elem_id="controls"):
            examples = gr.HTML(examples_html(), elem_id="examples")
            with gr.Column(visible=False, elem_id="sliders") as sliders:
                edit = edit_tab.build(app, session, status, stage)
                with gr.Accordion("Measures", open=False):
                    facts = gr.JSON(label="Measures", show_label=False)
            with gr.Accordion("Quality", open=False, elem_id="quality"):
                known = [(PRESET_TEXTS[name], name) for name in app.presets]
                preset = gr.Radio(known, value=DEFAULT_PRESET, label="Quality", elem_id="preset")
                advanced = _advanced()
                start = gr.Button("Start", elem_id="invert", interactive=False)
    to = _Widgets(upload, examples, stage_column, sliders, photo, face, tags, start, cancel, facts, status)
    work = _Handlers(app, to, edit)
    outputs = [*to.all(), *edit.outputs]
    options: dict[str, Any] = {"concurrency_limit": None, **PRIVATE}

    def on(event: Any, function: Any, inputs: list[Any], **more: Any) -> Any:
        return event(reported(function, outputs, status), inputs, [*outputs, status], **{**options, **more})

    def then_invert(event: Any) -> None:
        for _ in range(PRESETS):
            event = on(event.then, work.run_next, [session], trigger_mode="multiple")

    settings = [preset, *advanced]
    then_invert(on(photo.input, work.arrived, [session, photo, *settings]))
    then_invert(on(example.click, work.example, [session, *settings]))
    then_invert(on(start.click, work.again, [session, *settings], trigger_mode="once"))
    then_invert(on(face.input, work.chosen, [session, face, *settings]))
    on(other.click, work.leave, [session], queue=False)
    cancel.click(_cancel, [session], None, queue=False, **PRIVATE)
    return Tab(reported(work.show, outputs, status), [session], [*outputs, status])


def _cancel(session: Session) -> None:
    session.cancel()


def _advanced() -> list[Any]:
    """The advanced controls, in the order of the arguments of :func:`_choices`."""
    return [
        ClampedNumber(0, label="Steps of the optimiser (0: the preset's own)", precision=0, minimum=0, maximum=5000),
        gr.Dropdown([("The preset's own", ""), "w", "w+"], value="", label="Space: one latent for all layers, or each"),
        ClampedNumber(DEFAULT_SEED, label="Seed of the noise", precision=0, minimum=0),
        gr.Dropdown(list(BACKBONES), value="embedded", label="LPIPS backbone: whose features the loss compares"),
        gr.Checkbox(False, label="Restrict the loss to the face (mask)"),
        gr.Checkbox(True, label="Find the face (off: use the centre square)"),
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


@dataclass
class Work:
    """A face that is being inverted.

    Attributes:
        settings: the chosen preset and the advanced controls.
        presets: those that are still to run.
        found: the photo's faces, of which one is chosen.
        photo: its pixels; let go of after the last preset.
        key: of the stored face; empty before its first latent.
    """

    settings: tuple[Any, ...] = ()
    presets: list[str] = field(default_factory=list)
    found: DetectedFaces | None = None
    photo: Photo | None = None
    key: str = ""


class _Handlers:
    """The event handlers: what happens to a photo."""

    def __init__(self, app: AppState, to: _Widgets, edit: EditTab) -> None:
        self.app, self.to, self.edit = app, to, edit

    async def arrived(self, session: Session, path: str | None, *settings: Any) -> AsyncIterator[dict[Any, Any]]:
        """A new photo: forget the old one, and find its faces; the largest comes first."""
        if not path:
            return
        mine = await self._begin(session)
        session.memory.pop(MEMORY, None)
        session.current = ""
        nothing = self._nothing(session)
        yield {**nothing, self.to.status: status_text("Looking for faces \u2026")}
        try:
            copy = session.take_upload(Path(path))
            source = await asyncio.to_thread(read_upload, copy, self.app.settings.limits)
            found = DetectedFaces(copy, copy.name)
            session.memory[MEMORY] = found  # a photo without a face can be inverted unaligned
            await asyncio.to_thread(write_screen_copy, source, copy)
            if settings[-1]:
                found = DetectedFaces(copy, copy.name, await asyncio.to_thread(faces_of, source))
        except Exception:
            if session.memory.get(WORK) is not mine:
                yield self._unchanged()
                return
            yield {**nothing, self.to.start: gr.update(interactive=MEMORY in session.memory)}
            raise
        if session.memory.get(WORK) is not mine:
            yield self._unchanged()
            return
        session.memory[MEMORY] = found
        several = len(found.faces) > 1
        choices = [(f"Face {number}", number) for number in range(1, len(found.faces) + 1)]
        text = f"{len(found.faces)} faces found; the largest comes first." if several else "Face found."
        self._plan(mine, found, source, settings, first=True)
        yield {
            **nothing,
            **self._screen(stage=True),
            self.to.photo: None,
            self.to.face: gr.update(choices=choices, value=1 if choices else None, visible=several),
            self.to.tags: tags_html(found, source),
            self.edit.picture: figures(figure(for_screen(source.pixels)[0], "your photo", "photo")),
            self.to.status: status_text(f"{text} {source.note}".strip()),
        }

    async def example(self, session: Session, *settings: Any) -> AsyncIterator[dict[Any, Any]]:
        async for update in self.arrived(session, str(demo_photo()), *settings):
            yield update

    async def again(self, session: Session, *settings: Any) -> dict[Any, Any]:
        """The same face, with the settings of the tab."""
        found = session.memory.get(MEMORY)
        if found is None:
            raise UsageError("there is no photo yet. Choose one first, or use the example.")
        mine = await self._begin(session)
        photo = await asyncio.to_thread(read_upload, found.path, self.app.settings.limits, found.name)
        self._plan(mine, found, photo, settings, first=False)
        return {**self._screen(stage=True), self.to.photo: None, self.to.start: gr.update(interactive=False)}

    async def chosen(self, session: Session, number: int | None, *settings: Any) -> dict[Any, Any]:
        """Another face of the photo: shown if it was inverted before, else to be inverted."""
        found = session.memory.get(MEMORY)
        if found is None or not number:
            return self._unchanged()
        mine = await self._begin(session)
        session.memory[MEMORY] = found = DetectedFaces(found.path, found.name, found.faces, int(number))
        photo = await asyncio.to_thread(read_upload, found.path, self.app.settings.limits, found.name)
        tags = {self.to.tags: tags_html(found, photo)}
        known = _kept(session, found)
        if known is not None:
            session.current = known.key
            return {**tags, **self._everything(session), **self._idle()}
        self._plan(mine, found, photo, settings, first=True)
        return tags

    def leave(self, session: Session) -> dict[Any, Any]:
        """Back to the first screen, for another photo."""
        session.cancel()
        session.memory[WORK] = Work()
        session.memory.pop(MEMORY, None)
        session.current = ""
        return {**self._nothing(session), **self._screen(stage=False)}

    def show(self, session: Session) -> dict[Any, Any]:
        """The session's current face, which another tab may have made."""
        if session.current not in session.kept:
            return {self.to.facts: gr.update()}  # Gradio refuses an empty dict
        return {**self._screen(stage=True), **self._everything(session)}

    def _screen(self, *, stage: bool) -> dict[Any, Any]:
        """Show the photo with its controls, or the place to drop one."""
        shown, hidden = gr.update(visible=True), gr.update(visible=False)
        to = self.to
        return {
            **dict.fromkeys((to.upload, to.examples), hidden if stage else shown),
            **dict.fromkeys((to.stage, to.sliders), shown if stage else hidden),
        }

    async def _begin(self, session: Session) -> Work:
        """Cancel what is at work; returns the new work, of which nothing is planned yet."""
        session.memory[WORK] = mine = Work()
        job = session.job
        session.cancel()
        while job is not None and not job.finished:
            await asyncio.sleep(0.02)
        return mine

    def _plan(self, work: Work, found: DetectedFaces, photo: Photo, settings: tuple[Any, ...], *, first: bool) -> None:
        """What :meth:`run_next` is to do, with ``first`` by the fastest preset before the chosen one."""
        preset = settings[0]
        both = first and FIRST in self.app.presets and preset != FIRST
        work.presets = [FIRST, preset] if both else [preset]
        work.found, work.photo, work.settings = found, photo, settings

    def _idle(self) -> dict[Any, Any]:
        return {self.to.start: gr.update(interactive=True), self.to.cancel: gr.update(visible=False)}

    def _unchanged(self) -> dict[Any, Any]:
        """Nothing changes. Gradio refuses an empty dict, and repeats a generator's last message at its end."""
        return {self.to.status: gr.skip()}

    def _everything(self, session: Session) -> dict[Any, Any]:
        one = session.kept.get(session.current)
        shown = dict(zip(self.edit.outputs, self.edit.everything(session), strict=True))
        return {**shown, self.to.facts: measures(one.facts) if one and one.facts else None}

    def _nothing(self, session: Session) -> dict[Any, Any]:
        """No face: nothing of the last one is left on the screen, and its buttons are off."""
        to = self.to
        return {
            **self._everything(session),
            to.face: gr.update(choices=[], value=None, visible=False),
            to.tags: "",
            to.start: gr.update(interactive=False),
            to.cancel: gr.update(visible=False),
        }

    async def run_next(self, session: Session) -> AsyncIterator[dict[Any, Any]]:
        """Invert the face in hand by the next preset, if one is left."""
        work: Work = session.memory.get(WORK, Work())
        to = self.to
        if not work.presets or work.found is None or work.photo is None:
            return
        name = work.presets.pop(0)
        plain = {"num_steps": None, "space": None} if work.presets else {}
        busy = {to.cancel: gr.update(visible=True), to.start: gr.update(interactive=False)}
        try:
            config = InvertConfig(**{**_choices(name, *work.settings[1:]), **plain}, face=work.found.chosen)
            job = self.app.queue.start(inverting(self.app, work.photo, work.found, config), session)
            yield busy
            async for news in follow(job):
                yield {**busy, to.status: status_html(news, "Getting better" if work.key else "")}
            done = job.result()
            if session.memory.get(WORK) is not work:
                yield self._unchanged()
                return
            if work.key and work.key in session.kept:
                facts = {**done.facts, **_settings_of(config)}
                session.refine(work.key, done.inversion, aligned=done.aligned, preset=name, facts=facts)
                found = {to.facts: measures(done.facts)}
                if session.current == work.key:
                    now = session.chosen().history.now
                    yield {**busy, **self.edit.refreshed(session)}
                    if session.current == work.key and session.chosen().history.now != now:
                        found |= self.edit.refreshed(session)  # the slider moved while it was drawn
            else:
                work.key = _store(session, work.found, work.photo, config, done).key
                found = self._everything(session)
        except Exception as error:
            work.presets, work.photo = [], None
            if session.memory.get(WORK) is not work:
                yield self._unchanged()
                return
            kept = work.key or session.current in session.kept  # also of a face that is inverted anew
            said = "Stopped; the face stays as it was." if kept else "Cancelled; nothing was kept."
            if isinstance(error, Cancelled):
                yield {**self._idle(), to.status: status_text(said)}
                return
            yield self._idle()
            raise
        if work.presets:
            yield {**found, **busy}
        else:
            work.photo = None
            done_text = "Done. Choose a change below the photo, or move the sliders."
            yield {**found, **self._idle(), to.status: status_text(done_text)}


def measures(facts: dict[str, Any]) -> dict[str, Any]:
    """The measures with what they say first: whether dlib recognises the person in what the network draws."""
    return {"Recognised": recognised(facts.get("identity_distance")), **facts}


def _kept(session: Session, found: DetectedFaces) -> Kept | None:
    """The stored face that is the chosen one of the photo."""
    for one in session.kept.values():
        if one.photo == found.path and one.facts.get("face") == found.chosen:
            return one
    return None


def _settings_of(config: InvertConfig) -> dict[str, Any]:
    return {"face": config.face, "num_steps": config.num_steps, "space": config.space}


def _store(session: Session, found: DetectedFaces, photo: Photo, config: InvertConfig, done: Inverted) -> Kept:
    """Store the inverted face in the session; a former one of the same face is replaced."""
    facts = {**done.facts, **_settings_of(config)}
    former = _kept(session, found)
    if former is not None:
        session.current = former.key
        return session.refine(former.key, done.inversion, aligned=done.aligned, preset=config.preset, facts=facts)
    stem = Path(found.name).stem
    several = len(found.faces) > 1
    return session.keep(
        done.inversion,
        done.aligned,
        f"{stem}-face{found.chosen}" if several and found.chosen > 1 else stem,
        label=f"{found.name}, face {found.chosen}" if several else found.name,
        photo=found.path,
        factor=for_screen(photo.pixels)[1],
        preset=config.preset,
        facts=facts,
    )


def tags_html(found: DetectedFaces, photo: Photo) -> str:
    """Numbers beside the faces of a photo with several, at their places in percent of the photo's size."""
    if len(found.faces) < 2:
        return ""
    height, width = photo.pixels.shape[:2]
    marks = []
    for number, face in enumerate(found.faces, start=1):
        left, top = 100 * max(0.0, face.box[0]) / width, 100 * max(0.0, face.box[1]) / height
        chosen = " chosen" if number == found.chosen else ""
        marks.append(
            f'<button type="button" class="relatent-tag{chosen}" data-face="{number}" '
            f'aria-label="Face {number}" style="left:{left:.1f}%;top:{top:.1f}%">{number}</button>'
        )
    return "".join(marks)


def status_html(news: Progress, prefix: str = "") -> str:
    """The progress of a job as HTML, also for screen readers."""
    if news.ahead:
        others = "1 request is" if news.ahead == 1 else f"{news.ahead} requests are"
        return status_text(f"Waiting: {others} before yours.")
    if not news.total:
        return status_text(f"{prefix or news.text or 'starting'} \u2026".capitalize())
    left = "" if news.seconds_left is None else f", about {max(1, round(news.seconds_left))} s left"
    text = f"{prefix or news.text}: step {news.done:g} of {news.total:g}{left}".capitalize()
    share = f'<progress max="{news.total:g}" value="{news.done:g}" aria-label="progress"></progress>'
    return f'<div class="relatent-status"><p>{html.escape(text)}</p>{share}</div>'
