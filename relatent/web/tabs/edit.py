"""The Edit tab: a slider for each direction, the edited face and photo, and downloads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
import numpy as np

from editing.directions.direction import Direction
from editing.pasting import BLENDS, DEFAULT_BLEND
from relatent.core.errors import UsageError
from relatent.web.actions.download import KINDS, command_lines, python_lines, write_download
from relatent.web.actions.edit import Change
from relatent.web.actions.results import changed, drawing, shown, sweep
from relatent.web.errors import handler
from relatent.web.pictures import figure, figures, smooth
from relatent.web.session import Kept, Session
from relatent.web.state import AppState
from relatent.web.tabs.direction_slider import REACH, direction_slider, readable

GROUPS = {
    "Expression": ("smile", "mouth_open", "eyes_open"),
    "Face": ("age", "gender", "skin_tone", "brow_darkness"),
    "Pose": ("yaw", "pitch"),
    "Light": ("light_from_right", "warm_light"),
}
NOTHING = figures('<p class="relatent-lead">No face yet: choose a photo in the first tab and invert it.</p>')
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


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
        drawing: what the network drew.
    """

    faces: gr.Dropdown
    sliders: dict[str, gr.Slider] = field(default_factory=dict)
    seed: Any = None
    random: Any = None
    first: Any = None
    last: Any = None
    truncation: Any = None
    blend: Any = None
    drawing: Any = None

    @property
    def values(self) -> list[Any]:
        """The controls that make up a change."""
        return [*self.sliders.values(), self.seed, self.random, self.first, self.last, self.truncation, self.blend]


@dataclass
class EditTab:
    """The interface for events of other tabs.

    Attributes:
        show: handler of (session) for ``outputs``, which shows the session's current face.
        set_to: makes a handler of (session) for ``outputs`` that sets one direction.
        outputs: all widgets that show the face.
    """

    show: Callable[..., Any]
    set_to: Callable[[str, float], Callable[..., Any]]
    outputs: list[Any]


def build(app: AppState, session: gr.State) -> EditTab:
    """Build the widgets and events of the tab."""
    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            controls = _sliders(app)
            with gr.Row():
                undo = gr.Button("Undo", size="sm", min_width=80, elem_id="undo")
                reset = gr.Button("Reset all", size="sm", min_width=80, elem_id="reset-all")
                dice = gr.Button("Random direction", size="sm", min_width=120, elem_id="dice")
            _advanced(app, controls)
        with gr.Column(scale=6, min_width=300, elem_classes="relatent-result"):
            picture = gr.HTML(NOTHING, elem_id="edited", elem_classes="relatent-live")
            with gr.Accordion("Take it home", open=True):
                with gr.Row():
                    buttons = {
                        kind: gr.Button(text, size="sm", min_width=110, elem_id=f"get-{kind}")
                        for kind, text in KINDS.items()
                    }
                saved = gr.DownloadButton("Download", elem_id="relatent-saved")
            with gr.Accordion("The same by command line and in Python", open=False):
                shell = gr.Code(language="shell", label="Command line", interactive=False, elem_id="shell")
                python = gr.Code(language="python", label="Python", interactive=False, elem_id="python")
            _sweep_widgets(app, session)
    tab = _Handlers(app, controls)
    outputs = [controls.faces, *controls.values, picture, shell, python, controls.drawing]
    moves = [one.input for one in controls.values] + [one.release for one in controls.sliders.values()]
    gr.on(
        moves, tab.live, [session, *controls.values], [picture], trigger_mode="always_last", queue=False, **PRIVATE
    ).then(
        tab.lines, [session], [shell, python, controls.drawing], queue=False, **PRIVATE
    )  # the picture does not wait for these
    controls.faces.input(tab.choose, [session, controls.faces], outputs, **PRIVATE)
    undo.click(tab.undo, [session], outputs, queue=False, **PRIVATE)
    reset.click(tab.reset, [session], outputs, queue=False, **PRIVATE)
    dice.click(tab.roll, [session], outputs, queue=False, **PRIVATE)
    for kind, button in buttons.items():
        button.click(_saving(app, kind), [session, controls.blend], [saved], **PRIVATE).success(
            None, None, None, js="() => document.querySelector('#relatent-saved').click()", **PRIVATE
        )
    return EditTab(tab.show, tab.setting, outputs)


def _sliders(app: AppState) -> Controls:
    """The choice of the face, and the sliders of the directions in groups."""
    controls = Controls(gr.Dropdown([], label="Face", visible=False, elem_id="edit-face"))
    if not app.directions:
        gr.Markdown(
            "This network has no directions yet. `python -m editing directions learn` makes them; "
            "the random direction works without."
        )
    for group, names in _grouped(app.directions):
        with gr.Accordion(group, open=group in ("Expression", "Face", "More")):
            for name in names:
                controls.sliders[name] = direction_slider(app.directions[name], "slider")
    return controls


def _advanced(app: AppState, controls: Controls) -> None:
    last = app.network.num_ws - 1
    with gr.Accordion("Advanced", open=False):
        controls.seed = gr.Number(1, label="Random direction: its seed", precision=0, minimum=0, elem_id="random-seed")
        controls.random = gr.Slider(
            -2, 2, 0, step=0.05, label="Random direction: how far", buttons=["reset"], elem_id="random-strength"
        )
        controls.first = gr.Slider(0, last, 0, step=1, label="First layer that may change", elem_id="first-layer")
        controls.last = gr.Slider(0, last, last, step=1, label="Last layer that may change", elem_id="last-layer")
        controls.truncation = gr.Slider(
            0, 1.5, 1, step=0.05, label="Truncation: 1 keeps the face, 0 is the average one", buttons=["reset"],
            elem_id="truncation",
        )  # fmt: skip
        controls.drawing = gr.HTML(elem_id="drawing")
        controls.blend = gr.Radio(
            list(BLENDS), value=DEFAULT_BLEND, label="How the face goes back into the photo", elem_id="blend"
        )


def _sweep_widgets(app: AppState, session: gr.State) -> None:
    with gr.Accordion("A strip of strengths", open=False):
        names = [(readable(name), name) for name in app.directions] or [("Random direction 1", "random_1")]
        with gr.Row():
            name = gr.Dropdown(names, value=names[0][1], label="Direction", min_width=140, elem_id="sweep-name")
            reach = gr.Slider(0.5, REACH, REACH, step=0.5, label="How far to either side", min_width=140)
            pictures = gr.Slider(3, 11, 7, step=2, label="Pictures", min_width=140)
        draw = gr.Button("Draw the strip", size="sm", elem_id="sweep")
        strip = gr.HTML(elem_id="sweep-strip")

    @handler
    def drawn(own: Session, direction: str, far: float, number: float) -> str:
        strengths = np.linspace(-far, far, int(number)).tolist()
        picture = np.asarray(sweep(app, own.chosen(), direction, strengths))
        return figures(figure(smooth(picture, 160), f"{readable(direction)} from {-far:g} to {far:g}", "strip"))

    draw.click(drawn, [session, name, reach, pictures], [strip], **PRIVATE)


def _saving(app: AppState, kind: str) -> Any:
    @handler
    def save(session: Session, blend: Any) -> str:
        return str(write_download(app, session, session.chosen(), kind, blend))

    return save


def _grouped(directions: dict[str, Direction]) -> Iterator[tuple[str, list[str]]]:
    """The non-empty groups with their directions; all others are in a last group."""
    known = [name for names in GROUPS.values() for name in names]
    groups = [(group, [name for name in names if name in directions]) for group, names in GROUPS.items()]
    groups.append(("More", [name for name in directions if name not in known]))
    yield from ((group, names) for group, names in groups if names)


class _Handlers:
    """The event handlers. Those that return a list fill the ``outputs`` of the tab, in their order."""

    def __init__(self, app: AppState, controls: Controls) -> None:
        self.app, self.controls = app, controls
        self.names = list(controls.sliders)
        self.show = handler(self._show)
        self.live = handler(self._live)
        self.lines = handler(self._lines)
        self.choose = handler(self._choose)
        self.undo = handler(self._undo)
        self.reset = handler(self._reset)
        self.roll = handler(self._roll)

    def setting(self, name: str, strength: float) -> Callable[..., Any]:
        def set_to(session: Session) -> list[Any]:
            one = session.chosen()
            one.history.add(Change({name: strength}))
            return self._everything(session, one)

        return handler(set_to)

    def _show(self, session: Session) -> list[Any]:
        if not session.kept:
            return [
                gr.update(visible=False),
                *self._controls(Change(), session.memory.get("blend", DEFAULT_BLEND)),
                *self._pictures(None),
            ]
        return self._everything(session, session.chosen())

    def _choose(self, session: Session, key: str) -> list[Any]:
        session.current = session.chosen(key).key
        return self._show(session)

    def _live(self, session: Session, *values: Any) -> str:
        one = session.chosen()
        change = self._change(values)
        one.history.add(change, _moved_control(one.history.now, change))
        session.memory["blend"] = values[-1]
        return self._picture(one, values[-1])

    def _lines(self, session: Session) -> list[str]:
        return self._lines_of(session.chosen(), session.memory.get("blend", DEFAULT_BLEND))

    def _undo(self, session: Session) -> list[Any]:
        one = session.chosen()
        if not one.history.can_undo:
            raise UsageError("there is nothing to undo: the face is as it was inverted.")
        one.history.undo()
        return self._everything(session, one)

    def _reset(self, session: Session) -> list[Any]:
        one = session.chosen()
        one.history.add(Change())
        return self._everything(session, one)

    def _roll(self, session: Session) -> list[Any]:
        one = session.chosen()
        now = one.history.now
        used = next((int(name.rpartition("_")[2]) for name in now.strengths if name not in self.names), 0)
        seed = int(np.random.default_rng().integers(1, 100_000)) if used == 0 else used + 1
        kept = {name: value for name, value in now.strengths.items() if name in self.names}
        one.history.add(Change({**kept, f"random_{seed}": 0.5}, now.layers, now.truncation))
        return self._everything(session, one)

    def _change(self, values: tuple[Any, ...]) -> Change:
        strengths = dict(zip(self.names, values[: len(self.names)], strict=True))
        seed, far, first, last, truncation, _ = values[len(self.names) :]
        if first > last:
            raise UsageError(f"the first layer is {first:g} and the last one {last:g}. Let the first come before it.")
        strengths[f"random_{int(seed or 0)}"] = far
        everything = (int(first), int(last)) == (0, self.app.network.num_ws - 1)
        return Change(strengths, None if everything else (int(first), int(last)), float(truncation))

    def _everything(self, session: Session, one: Kept) -> list[Any]:
        labels = [(kept.label, key) for key, kept in session.kept.items()]
        faces = gr.update(choices=labels, value=one.key, visible=len(labels) > 1)
        blend = session.memory.get("blend", DEFAULT_BLEND)
        return [faces, *self._controls(one.history.now, blend), *self._pictures(one, blend)]

    def _controls(self, change: Change, blend: Any) -> list[Any]:
        random = next(((name, value) for name, value in change.strengths.items() if name not in self.names), None)
        seed, far = (int(random[0].rpartition("_")[2]), random[1]) if random else (1, 0.0)
        first, last = change.layers or (0, self.app.network.num_ws - 1)
        values = [change.strengths.get(name, 0.0) for name in self.names]
        return [*values, seed, far, first, last, change.truncation, blend]

    def _pictures(self, one: Kept | None, blend: Any = DEFAULT_BLEND) -> list[Any]:
        if one is None:
            return [NOTHING, "", "", ""]
        return [self._picture(one, blend), *self._lines_of(one, blend)]

    def _picture(self, one: Kept, blend: Any) -> str:
        found = shown(self.app, one, blend)
        photo = "" if found.photo is None else figure(found.photo, "the whole photo", "photo")
        return figures(photo, figure(smooth(found.face), "the face"))

    def _lines_of(self, one: Kept, blend: Any) -> list[str]:
        drawn = drawing(self.app, changed(self.app, one))
        picture = figures(figure(smooth(drawn, 192), f"what the network draws, {len(drawn)} px", "small"))
        return [command_lines(self.app, one, blend), python_lines(self.app, one, blend), picture]


def _moved_control(before: Change, after: Change) -> str:
    """The control that has changed; empty if several have."""
    names = {*before.strengths, *after.strengths}
    moved = [name for name in names if before.strengths.get(name, 0.0) != after.strengths.get(name, 0.0)]
    moved += ["layers"] if before.layers != after.layers else []
    moved += ["truncation"] if before.truncation != after.truncation else []
    return moved[0] if len(moved) == 1 else ""
