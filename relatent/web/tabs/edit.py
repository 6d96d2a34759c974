"""The controls of the Photo tab: quick buttons, sliders, undo and redo, downloads, and what they show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
import numpy as np

from editing.pasting import BLENDS, DEFAULT_BLEND
from relatent.core.errors import UsageError
from relatent.web.actions.download import KINDS, Download, command_lines, python_lines, write_download
from relatent.web.actions.edit import Change
from relatent.web.actions.results import changed, drawing, original, shown, sweep
from relatent.web.errors import reported
from relatent.web.pictures import figure, figures, smooth
from relatent.web.session import Kept, Session
from relatent.web.state import AppState
from relatent.web.tabs.direction_slider import REACH, clamped, direction_sliders, readable
from relatent.web.tabs.download_buttons import downloads, hidden_download
from relatent.web.tabs.widgets import ClampedNumber, ClampedSlider

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
QUICK = {
    "Smile": ("smile", 1.0),
    "Serious": ("smile", -0.7),
    "Younger": ("age", -0.6),
    "Older": ("age", 0.5),
    "Turn": ("yaw", 1.0),
}
SINGLE = ("photo-png", "photo-jpeg", "face-png", "drawn-png", "latent", "inversion", "direction")
VIEWS = (("Photo", "photo"), ("Face", "face"))
STATES = "edit-states"  # key in Session.memory: what the browser knows of the buttons that edits turn on and off


@dataclass
class Stage:
    """The photo and what lies directly below it.

    Attributes:
        picture: the photo or face with its edits.
        original: the same without, shown while somebody compares.
        view: whether the photo or the face is shown.
        quick: buttons of single edits, with direction and strength.
        undo: steps back.
        redo: takes that back.
        compare: held to see the original.
        download: of the photo.
        location: whether the photo keeps where it was taken.
        saved: the hidden button that starts a download in the browser.
    """

    picture: gr.HTML
    original: gr.HTML
    view: gr.Radio
    quick: dict[gr.Button, tuple[str, float]]
    undo: gr.Button
    redo: gr.Button
    compare: gr.Button
    download: gr.Button
    location: gr.Checkbox
    saved: gr.DownloadButton

    @property
    def buttons(self) -> list[gr.Button]:
        """The buttons that need a face."""
        return [*self.quick, self.compare]


def build_stage(app: AppState) -> Stage:
    """Build the photo's place, with the buttons below it."""
    with gr.Column(elem_id="stage-picture"):
        picture = gr.HTML("", elem_id="edited")
        before = gr.HTML("", elem_id="original")
    with gr.Row(elem_classes="relatent-quick"):
        quick = {
            gr.Button(text, elem_id=f"quick-{text.lower()}", min_width=64, interactive=False): change
            for text, change in QUICK.items()
            if change[0] in app.directions
        }
    with gr.Row(elem_classes="relatent-tools"):
        undo = gr.Button("Undo", size="sm", min_width=60, elem_id="undo", interactive=False)
        redo = gr.Button("Redo", size="sm", min_width=60, elem_id="redo", interactive=False)
        compare = gr.Button("Hold to compare", size="sm", min_width=120, elem_id="compare", interactive=False)
        view = gr.Radio(list(VIEWS), value="photo", show_label=False, container=False, min_width=120, elem_id="view")
    download = gr.Button(KINDS["photo"], variant="primary", elem_id="get-photo", interactive=False)
    location = gr.Checkbox(False, label="Keep where the photo was taken (GPS)", elem_id="location", container=False)
    saved = hidden_download("relatent-saved")
    return Stage(picture, before, view, quick, undo, redo, compare, download, location, saved)


@dataclass
class Controls:
    """The controls, in the order in which handlers get their values.

    Attributes:
        faces: choice of the face to edit.
        sliders: strengths by direction.
        seed: of the random direction.
        random: its strength.
        first: first layer that may change.
        last: last layer that may change.
        truncation: see :class:`relatent.web.actions.edit.Change`.
        blend: how the face goes back into the photo.
    """

    faces: gr.Dropdown
    sliders: dict[str, gr.Slider] = field(default_factory=dict)
    seed: Any = None
    random: Any = None
    first: Any = None
    last: Any = None
    truncation: Any = None
    blend: Any = None

    @property
    def rarer(self) -> list[Any]:
        """The controls below Advanced that make up a change, in the order in which handlers get their values."""
        return [self.seed, self.random, self.first, self.last, self.truncation, self.blend]

    @property
    def values(self) -> list[Any]:
        """The controls that make up a change."""
        return [*self.sliders.values(), *self.rarer]


@dataclass
class EditTab:
    """The interface for events of other tabs.

    Attributes:
        everything: function of (session) that gives the values of ``outputs``.
        refreshed: function of (session) that gives updates of the picture alone.
        outputs: all widgets that show the face.
        picture: the one with the photo.
    """

    everything: Callable[[Session], list[Any]]
    refreshed: Callable[[Session], dict[Any, Any]]
    outputs: list[Any]
    picture: gr.HTML


def build(app: AppState, session: gr.State, status: gr.HTML, stage: Stage) -> EditTab:
    """Build the controls and their events, those of the stage included."""
    controls = Controls(gr.Dropdown([], label="Face", visible=False, elem_id="edit-face"))
    if not app.directions:
        gr.Markdown(
            "This network has no directions yet. `python -m editing directions learn` makes them; "
            "the random direction works without."
        )
    controls.sliders = direction_sliders(app.directions, "slider")
    with gr.Row():
        reset = gr.Button("Reset all", size="sm", min_width=80, elem_id="reset-all")
        dice = gr.Button("Random direction", size="sm", min_width=120, elem_id="dice")
    with gr.Accordion("Advanced", open=False, elem_id="edit-advanced") as advanced:
        _advanced(app, controls)
        drawn = gr.HTML(elem_id="drawing")
    with gr.Accordion("Files for researchers", open=False, elem_id="files"), gr.Row():
        singles = {kind: gr.Button(KINDS[kind], size="sm", min_width=110, elem_id=f"get-{kind}") for kind in SINGLE}
    with gr.Accordion("The same by command line and in Python", open=False, elem_id="lines") as lines:
        shell = gr.Code(language="shell", label="Command line", interactive=False, elem_id="shell")
        python = gr.Code(language="python", label="Python", interactive=False, elem_id="python")
    tab = _Handlers(app, controls, stage)

    def on(event: Any, function: Any, inputs: list[Any], outputs: list[Any], **options: Any) -> Any:
        return event(
            reported(function, outputs, status), inputs, [*outputs, status], **{"queue": False, **PRIVATE, **options}
        )

    _strip(app, session, on)
    live = [stage.picture, stage.undo, stage.redo, *stage.buttons]
    for name, slider in controls.sliders.items():
        on(slider.input, tab.sliding(name), [session, slider], [*live, slider], trigger_mode="always_last")
    for control in controls.rarer:
        on(control.input, tab.live, [session, *controls.rarer], live, trigger_mode="always_last")
    on(controls.faces.input, tab.choose, [session, controls.faces], tab.outputs)
    on(stage.view.input, tab.view, [session, stage.view], [stage.picture, stage.original])
    for event, function in ((stage.undo, tab.undo), (stage.redo, tab.redo), (reset, tab.reset), (dice, tab.roll)):
        on(event.click, function, [session], tab.outputs)
    for button, (name, strength) in stage.quick.items():
        on(button.click, tab.setting(name, strength), [session], tab.outputs)
    on(lines.expand, tab.lines, [session], [shell, python])
    on(advanced.expand, tab.drawn, [session], [drawn])
    for kind, button in {"photo": stage.download, **singles}.items():
        downloads(button, _writing(app, kind), [session, controls.blend, stage.location], stage.saved, status)
    return EditTab(tab.everything, tab.refreshed, tab.outputs, stage.picture)


def _advanced(app: AppState, controls: Controls) -> None:
    last = app.network.num_ws - 1
    controls.seed = ClampedNumber(1, label="Random direction: its seed", precision=0, minimum=0, elem_id="random-seed")
    controls.random = ClampedSlider(
        -2, 2, 0, step=0.05, label="Random direction: how far", buttons=["reset"], elem_id="random-strength",
        elem_classes="relatent-centred",
    )  # fmt: skip
    controls.first = ClampedSlider(0, last, 0, step=1, label="First layer that may change", elem_id="first-layer")
    controls.last = ClampedSlider(0, last, last, step=1, label="Last layer that may change", elem_id="last-layer")
    controls.truncation = ClampedSlider(
        0, 1.5, 1, step=0.05, label="Truncation: 1 keeps the face, 0 is the average one", buttons=["reset"],
        elem_id="truncation",
    )  # fmt: skip
    controls.blend = gr.Radio(
        list(BLENDS), value=DEFAULT_BLEND, label="How the face goes back into the photo", elem_id="blend"
    )


def _strip(app: AppState, session: gr.State, on: Callable[..., Any]) -> None:
    with gr.Accordion("A strip of strengths", open=False):
        names = [(readable(name), name) for name in app.directions] or [("Random direction 1", "random_1")]
        with gr.Row():
            name = gr.Dropdown(names, value=names[0][1], label="Direction", min_width=140, elem_id="sweep-name")
            reach = ClampedSlider(0.5, REACH, REACH, step=0.5, label="How far to either side", min_width=140)
            pictures = ClampedSlider(3, 11, 7, step=2, label="Pictures", min_width=140)
        draw = gr.Button("Draw the strip", size="sm", elem_id="sweep")
        strip = gr.HTML(elem_id="sweep-strip")

    def drawn(own: Session, direction: str, far: float, number: float) -> str:
        strengths = np.linspace(-far, far, int(number)).tolist()
        picture = np.asarray(sweep(app, own.chosen(), direction, strengths))
        return figures(figure(smooth(picture, 160), f"{readable(direction)} from {-far:g} to {far:g}", "strip"))

    on(draw.click, drawn, [session, name, reach, pictures], [strip])


def _writing(app: AppState, kind: str) -> Callable[..., Download]:
    def write(session: Session, blend: Any, location: bool = False) -> Download:
        return write_download(app, session, session.chosen(), kind, blend, location=bool(location))

    return write


class _Handlers:
    """The event handlers. Those that return a list of everything fill ``outputs``, in their order."""

    def __init__(self, app: AppState, controls: Controls, stage: Stage) -> None:
        self.app, self.controls, self.stage = app, controls, stage
        self.names = list(controls.sliders)

    @property
    def outputs(self) -> list[Any]:
        stage = self.stage
        shows = [stage.picture, stage.original, stage.undo, stage.redo, stage.download, *stage.buttons]
        return [self.controls.faces, *self.controls.values, *shows]

    def setting(self, name: str, strength: float) -> Callable[..., Any]:
        """Sets one direction, or takes it back to 0 if it is there already."""

        def set_to(session: Session) -> list[Any]:
            one = session.chosen()
            now = one.history.now
            value = 0.0 if now.strengths.get(name) == strength else strength
            one.history.add(Change({**now.strengths, name: value}, now.layers, now.truncation, now.drags))
            return self.everything(session, original=False)

        return set_to

    def everything(self, session: Session, *, original: bool = True) -> list[Any]:
        """The values of ``outputs`` for the session's current face; ``original`` False leaves that as it is."""
        blend = session.memory.get("blend", DEFAULT_BLEND)
        off = gr.update(interactive=False)
        if session.current not in session.kept:
            values = self._values(Change(), blend)
            return [gr.update(visible=False), *values, "", "", off, off, off, *self._pressed(Change(), ready=False)]
        one = session.chosen()
        states = session.memory[STATES] = self._states(one)
        labels = [(kept.label, key) for key, kept in session.kept.items()]
        faces = gr.update(choices=labels, value=one.key, visible=len(labels) > 1)
        return [
            faces,
            *self._values(one.history.now, blend),
            self._picture(session, one, blend),
            self._original(session, one) if original else gr.skip(),
            states[self.stage.undo],
            states[self.stage.redo],
            gr.update(interactive=one.photo is not None),
            *(states[button] for button in self.stage.buttons),
        ]

    def refreshed(self, session: Session) -> dict[Any, Any]:
        """The picture drawn anew, for a face whose latent has become better."""
        one = session.chosen()
        picture = self._picture(session, one, session.memory.get("blend", DEFAULT_BLEND))
        return {self.stage.picture: picture, self.stage.original: self._original(session, one)}

    def choose(self, session: Session, key: str) -> list[Any]:
        session.current = session.chosen(key).key
        return self.everything(session)

    def view(self, session: Session, view: str) -> list[str]:
        session.memory["view"] = view
        if session.current not in session.kept:
            return ["", ""]
        one = session.chosen()
        picture = self._picture(session, one, session.memory.get("blend", DEFAULT_BLEND))
        return [picture, self._original(session, one)]

    def sliding(self, name: str) -> Callable[[Session, Any], dict[Any, Any]]:
        """Follows the slider of one direction.

        All else is as the history of the face says, because every input and output of an event costs Gradio time, for
        which a dragged slider waits.
        """
        slider = self.controls.sliders[name]

        def slide(session: Session, sent: Any) -> dict[Any, Any]:
            one, value = session.chosen(), clamped(sent)
            now = one.history.now
            one.history.add(Change({**now.strengths, name: value}, now.layers, now.truncation, now.drags), name)
            found = self._live(session, one)
            if sent != value:
                found[slider] = value
                found["said"] = f"{readable(name)} goes from {-REACH:g} to {REACH:g}; it is {value:g} now."
            return found

        return slide

    def live(self, session: Session, *values: Any) -> dict[Any, Any]:
        """Follows the controls below Advanced."""
        one = session.chosen()
        change = self._change(one.history.now, values)
        one.history.add(change, _moved_control(one.history.now, change))
        session.memory["blend"] = values[-1]
        return self._live(session, one)

    def _live(self, session: Session, one: Kept) -> dict[Any, Any]:
        """The picture, and the buttons that have changed."""
        picture = self._picture(session, one, session.memory.get("blend", DEFAULT_BLEND))
        known, states = session.memory.get(STATES, {}), self._states(one)
        session.memory[STATES] = states
        return {
            self.stage.picture: picture,
            **{widget: state for widget, state in states.items() if known.get(widget) != state},
        }

    def lines(self, session: Session) -> list[str]:
        one, blend = session.chosen(), session.memory.get("blend", DEFAULT_BLEND)
        return [command_lines(self.app, one, blend), python_lines(self.app, one, blend)]

    def drawn(self, session: Session) -> str:
        """What the network draws."""
        if session.current not in session.kept:
            return ""
        pixels = drawing(self.app, changed(self.app, session.chosen()))
        return figures(figure(smooth(pixels, 192), f"what the network draws, {len(pixels)} px", "small"))

    def undo(self, session: Session) -> list[Any]:
        session.chosen().history.undo()
        return self.everything(session, original=False)

    def redo(self, session: Session) -> list[Any]:
        session.chosen().history.redo()
        return self.everything(session, original=False)

    def reset(self, session: Session) -> list[Any]:
        session.chosen().history.add(Change())
        return self.everything(session, original=False)

    def roll(self, session: Session) -> list[Any]:
        one = session.chosen()
        now = one.history.now
        used = next((int(name.rpartition("_")[2]) for name in now.strengths if name not in self.names), 0)
        seed = int(np.random.default_rng().integers(1, 100_000)) if used == 0 else used + 1
        kept = {name: value for name, value in now.strengths.items() if name in self.names}
        one.history.add(Change({**kept, f"random_{seed}": 0.5}, now.layers, now.truncation, now.drags))
        return self.everything(session, original=False)

    def _change(self, now: Change, values: tuple[Any, ...]) -> Change:
        """A change like ``now``, with the values of ``Controls.rarer``."""
        seed, far, first, last, truncation, _ = values
        if first > last:
            raise UsageError(f"the first layer is {first:g} and the last one {last:g}. Let the first come before it.")
        strengths = {name: value for name, value in now.strengths.items() if name in self.names}
        strengths[f"random_{int(seed or 0)}"] = far
        everything = (int(first), int(last)) == (0, self.app.network.num_ws - 1)
        return Change(strengths, None if everything else (int(first), int(last)), float(truncation), now.drags)

    def _values(self, change: Change, blend: Any) -> list[Any]:
        random = next(((name, value) for name, value in change.strengths.items() if name not in self.names), None)
        seed, far = (int(random[0].rpartition("_")[2]), random[1]) if random else (1, 0.0)
        first, last = change.layers or (0, self.app.network.num_ws - 1)
        values = [change.strengths.get(name, 0.0) for name in self.names]
        return [*values, seed, far, first, last, change.truncation, blend]

    def _pressed(self, change: Change, *, ready: bool) -> list[Any]:
        """States of ``Stage.buttons``: quick buttons whose edit is in the photo stand out."""
        states = [change.strengths.get(name) == strength for name, strength in self.stage.quick.values()]
        variants = [gr.update(variant="primary" if on else "secondary", interactive=ready) for on in states]
        return [*variants, gr.update(interactive=ready)]

    def _states(self, one: Kept) -> dict[Any, Any]:
        """States of the buttons that depend on the edits."""
        stage = self.stage
        widgets = [stage.undo, stage.redo, *stage.buttons]
        return dict(zip(widgets, [*self._steps(one), *self._pressed(one.history.now, ready=True)], strict=True))

    def _steps(self, one: Kept) -> tuple[Any, Any]:
        return gr.update(interactive=one.history.can_undo), gr.update(interactive=one.history.can_redo)

    def _picture(self, session: Session, one: Kept, blend: Any) -> str:
        """The photo, or the face as cut from it; only what is looked at is drawn."""
        face = session.memory.get("view") == "face" or one.photo is None
        with self.app.network_lock.drawing():
            found = shown(self.app, one, blend, session.beside(one), face=face)
        if face or found.photo is None:
            return figures(figure(smooth(found.face, 512), "the face as it is now", "face"))
        return figures(figure(found.photo, "the photo as it is now", "photo"))

    def _original(self, session: Session, one: Kept) -> str:
        found = original(one)
        if session.memory.get("view") == "face" or found.photo is None:
            return figures(figure(smooth(found.face, 512), "the face before", "face"))
        return figures(figure(found.photo, "the photo before", "photo"))


def _moved_control(before: Change, after: Change) -> str:
    """The control that has changed; empty if several have."""
    names = {*before.strengths, *after.strengths}
    moved = [name for name in names if before.strengths.get(name, 0.0) != after.strengths.get(name, 0.0)]
    moved += ["layers"] if before.layers != after.layers else []
    moved += ["truncation"] if before.truncation != after.truncation else []
    return moved[0] if len(moved) == 1 else ""
