"""The Explore tab: random faces by seed, and SeFa and GANSpace directions."""

from __future__ import annotations

import secrets
from typing import Any

import gradio as gr
from PIL import Image

from editing.layers import GROUPS, layer_numbers
from editing.seeds import SEEDS
from inversion import Inversion
from relatent.core.errors import UsageError
from relatent.web.actions.explore import KINDS, Components, draw_seeds, explored
from relatent.web.errors import reported
from relatent.web.pictures import figure, figures, smooth
from relatent.web.session import Session
from relatent.web.state import AppState
from relatent.web.tabs.tab import Tab
from relatent.web.tabs.widgets import ClampedNumber, ClampedSlider

SHEET = 12  # faces of a sheet
REACH = 4.0  # largest strength of a slider, in standard deviations
TITLES = {"sefa": "SeFa: what the network's weights react to most", "ganspace": "GANSpace: where faces differ most"}
NAMES = {"sefa": "SeFa", "ganspace": "GANSpace"}
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def build(app: AppState, session: gr.State, status: gr.HTML) -> Tab:
    """Build the widgets and events of the tab."""
    components = Components(app.network)
    gr.Markdown(
        "Random faces of the network. A seed always gives the same face. The sliders move it along unsupervised "
        "directions, which have no names: find out what they do."
    )
    with gr.Row():
        with gr.Column(scale=5, min_width=300):
            seed = ClampedNumber(0, label="Seed", precision=0, minimum=0, maximum=SEEDS - 1, elem_id="explore-seed")
            with gr.Row():
                another = gr.Button("Another face", variant="primary", elem_id="explore-another")
                reset = gr.Button("Reset the sliders", elem_id="explore-reset")
            psi = ClampedSlider(
                0, 1.2, 0.7, step=0.05, elem_id="explore-psi",
                label="Truncation: 0 is the average face, 1 whatever the network draws",
            )  # fmt: skip
            number = ClampedNumber(
                0, label="Class", precision=0, minimum=0, maximum=max(app.network.c_dim - 1, 0),
                visible=app.network.c_dim > 0, elem_id="explore-class",
            )  # fmt: skip
            layers = gr.Dropdown(_layer_choices(app), value="all", label="Layers that the sliders move")
            sliders = [slider for kind in KINDS for slider in _sliders(kind, components.count, is_open=kind == "sefa")]
        with gr.Column(scale=4, min_width=300, elem_classes="relatent-result"):
            picture = gr.HTML(elem_id="explore-picture", elem_classes="relatent-live")
            keep = gr.Button("Keep this face, to edit or mix it", elem_id="explore-keep")
            kept = gr.Markdown(elem_id="explore-kept")
    with gr.Accordion("Many faces at once", open=False):
        with gr.Row():
            first = ClampedNumber(0, label="First seed", precision=0, minimum=0, maximum=SEEDS - SHEET)
            many = gr.Button(f"Draw {SHEET} faces", elem_id="explore-many")
        sheet = gr.Gallery(
            label="Choose a face to explore it", columns=6, height="auto", object_fit="contain", allow_preview=False,
            buttons=[], elem_id="explore-sheet",
        )  # fmt: skip

    controls: list[Any] = [seed, psi, layers, *sliders, number]
    face = [session, *controls]
    shown = [picture, status]
    show = reported(_drawing(app, components), [picture], status)

    def on(event: Any, function: Any, inputs: list[Any], outputs: list[Any]) -> Any:
        return event(reported(function, outputs, status), inputs, [*outputs, status], **QUIET)

    for control in controls:
        control.input(show, face, shown, trigger_mode="always_last", queue=False, **QUIET)
    another.click(lambda: secrets.randbelow(2**31), None, [seed], **QUIET).then(show, face, shown, **QUIET)
    reset.click(lambda: [0.0] * len(sliders), None, sliders, **QUIET).then(show, face, shown, **QUIET)
    on(keep.click, _keeping(app, components), face, [kept])
    on(many.click, _many(app), [session, first, psi, number], [sheet])
    sheet.select(_picked(len(sliders)), [first], [seed, *sliders], **QUIET).then(show, face, shown, **QUIET)
    return Tab(show, face, shown)


def _sliders(kind: str, count: int, *, is_open: bool) -> list[gr.Slider]:
    with gr.Accordion(TITLES[kind], open=is_open):
        return [
            ClampedSlider(
                -REACH, REACH, 0, step=0.1, elem_id=f"explore-{kind}-{number}",
                label=f"{NAMES[kind]} {number}", buttons=["reset"], elem_classes="relatent-centred",
            )
            for number in range(1, count + 1)
        ]  # fmt: skip


def _layer_choices(app: AppState) -> list[tuple[str, str]]:
    """The groups of layers that the network has."""
    texts = {"all": "All layers"} | {name: f"{name.capitalize()} layers" for name in GROUPS if name != "all"}
    return [(text, name) for name, text in texts.items() if _has(app, name)]


def _has(app: AppState, layers: str) -> bool:
    try:
        return bool(layer_numbers(layers, app.network.num_ws))
    except UsageError:
        return False


def _face(
    app: AppState,
    components: Components,
    seed: float | None,
    psi: float,
    layers: str,
    numbers: tuple[float, ...],  # the sliders' strengths, then the class
) -> Inversion:
    """The face of the controls; components are computed only when one of their sliders is not 0."""
    count = components.count
    strengths, chosen = numbers[: len(KINDS) * count], numbers[len(KINDS) * count :]
    moves = []
    for number, kind in enumerate(KINDS):
        of_kind = strengths[number * count : (number + 1) * count]
        if any(of_kind):
            with app.network_lock.quick():
                found = components.find(kind, layers)
            moves += list(zip(found, of_kind, strict=True))
    return explored(app.network, int(seed or 0), psi, moves, _class(app, *chosen))


def _class(app: AppState, number: float | None = 0) -> int | None:
    """The class that the widget says; None for a network without classes."""
    return int(number or 0) if app.network.c_dim else None


def _drawing(app: AppState, components: Components) -> Any:
    def draw(_: Session, seed: float | None, psi: float, layers: str, *numbers: float) -> str:
        pixels = app.draw(_face(app, components, seed, psi, layers, numbers))
        return figures(figure(smooth(pixels), f"seed {int(seed or 0)}"))

    return draw


def _keeping(app: AppState, components: Components) -> Any:
    def keep(session: Session, seed: float | None, psi: float, layers: str, *numbers: float) -> str:
        face = _face(app, components, seed, psi, layers, numbers)
        number = int(seed or 0)
        one = session.keep(face, app.draw(face), f"seed{number:04}", label=f"seed {number}")
        return f"Kept as **{one.label}**: it is on the Photo and Mix tabs now."

    return keep


def _many(app: AppState) -> Any:
    def draw(session: Session, first: float | None, psi: float, number: float | None = 0) -> list[tuple[str, str]]:
        seeds = range(int(first or 0), int(first or 0) + SHEET)
        with app.network_lock.quick():
            pictures = draw_seeds(app.network, seeds, psi, _class(app, number))
        shown = []
        for seed, pixels in zip(seeds, pictures, strict=True):
            path = session.new_file(f"seed{seed:04}.png")
            Image.fromarray(pixels).save(path)
            shown.append((str(path), f"seed {seed}"))
        return shown

    return draw


def _picked(count: int) -> Any:
    """The seed that was chosen, and ``count`` sliders at 0: the face is the one of the sheet."""

    def picked(first: float | None, event: gr.SelectData) -> list[float]:
        return [int(first or 0) + int(event.index), *[0.0] * count]

    return picked
