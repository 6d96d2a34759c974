"""The API endpoints `/invert` and `/edit`. They are stateless.

The results are files of the caller's session; download them before it ends. docs/page.md has examples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from editing.layers import layer_numbers
from editing.pasting import BLENDS, DEFAULT_BLEND
from inversion import Inversion, InvertConfig
from inversion.batch.report import latent_bytes
from inversion.presets import DEFAULT_PRESET, DEFAULT_SEED
from relatent.core.errors import UnknownNameError, UsageError
from relatent.core.files import write_bytes
from relatent.core.numbers import as_strength, as_whole
from relatent.core.provenance import MarkedImage
from relatent.web.actions.edit import Change
from relatent.web.actions.faces import DetectedFaces
from relatent.web.actions.invert import inverting
from relatent.web.actions.latent_files import open_latent
from relatent.web.actions.results import face_picture, in_photo
from relatent.web.errors import handler
from relatent.web.queue import follow
from relatent.web.session import Kept, Session
from relatent.web.state import AppState
from relatent.web.uploads import check_upload, read_upload


def add(app: AppState, session: gr.State) -> None:
    """Add the endpoints inside a Blocks context; their widgets are hidden."""
    with gr.Column(visible=False):
        _add_invert(app, session)
        _add_edit(app, session)


def _add_invert(app: AppState, session: gr.State) -> None:
    inputs = [
        gr.File(label="photo"),
        gr.Dropdown(list(app.presets), value=DEFAULT_PRESET, label="preset"),
        gr.Number(1, label="face"),  # no precision: Gradio's rounding fails on what is not finite
        gr.Number(0, label="num_steps"),
        gr.Number(DEFAULT_SEED, label="seed"),
        gr.Checkbox(True, label="align"),
    ]
    outputs = [gr.File(label="face"), gr.File(label="inversion"), gr.File(label="latent"), gr.JSON(label="facts")]
    gr.Button("invert").click(
        _invert(app), [session, *inputs], outputs, api_name="invert", concurrency_limit=None,
        api_description="Inverts a face of a photo. num_steps 0 is the preset's own; faces count from 1, "
        "largest first. Returns the inverted face (PNG), inversion.safetensors, projected_w.npz and the measures.",
    )  # fmt: skip


def _add_edit(app: AppState, session: gr.State) -> None:
    inputs = [
        gr.File(label="inversion"),
        gr.JSON({"smile": 2}, label="strengths"),
        gr.File(label="photo"),
        gr.Textbox("", label="layers"),
        gr.Number(1.0, label="truncation"),
        gr.Dropdown(list(BLENDS), value=DEFAULT_BLEND, label="blend"),
    ]
    outputs = [gr.File(label=name) for name in ("face", "pasted", "inversion", "latent")]
    gr.Button("edit").click(
        _edit(app), [session, *inputs], outputs, api_name="edit", concurrency_limit=None,
        api_description="Moves an inversion along directions, {name: strength}. With the photo, also pastes the edited "
        "face into it. Returns the face (PNG), the photo (PNG) or None, inversion.safetensors and the latent.",
    )  # fmt: skip


def _invert(app: AppState) -> Any:
    @handler
    async def invert(
        session: Session, photo: str | None, preset: Any, face: Any, num_steps: Any, seed: Any, align: Any
    ) -> AsyncIterator[Any]:
        if not photo:
            raise UsageError("no photo came; expected a picture file as the first argument.")
        config = checked_config(preset, face, num_steps, seed, align)
        path = session.take_upload(Path(photo))
        source = read_upload(path, app.settings.limits)
        found = DetectedFaces(path, path.name, (), int(config.face))
        job = app.queue.start(inverting(app, source, found, config), session)
        async for news in follow(job, 1.0):
            yield None, None, None, {"ahead": news.ahead, "step": news.done, "of": news.total}
        done = job.result()
        one = Kept("", path.name, path.stem, done.inversion, done.aligned)
        with app.network_lock.quick():
            drawn = done.inversion.image(app.network)  # in the photo nothing has changed yet
        face_file, _, inversion, latent = written(app, session, one, done.inversion, None, drawn)
        yield face_file, inversion, latent, done.facts

    return invert


def _edit(app: AppState) -> Any:
    @handler
    def edit(
        session: Session,
        inversion: str | None,
        strengths: Any,
        photo: str | None,
        layers: Any,
        truncation: Any,
        blend: Any,
    ) -> Any:
        if not inversion:
            raise UsageError("no inversion came; expected a file that /invert or inversion.project has written.")
        change = Change(checked_strengths(strengths), None, truncation)
        if blend not in BLENDS:
            raise UnknownNameError("blend", str(blend), BLENDS)
        if not isinstance(layers, str | None):
            raise UsageError(f"layers came as {layers!r:.60}; expected text such as coarse or 0-3,7, or nothing.")
        source = Path(inversion)
        with app.network_lock.quick():
            face = open_latent(check_upload(source, app.settings.limits), app.network)
        numbers = layer_numbers(layers, app.network.num_ws) if layers else None
        edited = change.apply(face, app.network, app.directions, numbers)
        one = Kept("", source.name, source.stem, face, np.zeros((1, 1, 3), np.uint8))
        pasted = None
        if photo:
            path = session.take_upload(Path(photo))
            read_upload(path, app.settings.limits)  # to check it against the limits
            pasted = in_photo(app, dataclasses.replace(one, photo=path), edited, blend)
        return written(app, session, one, edited, pasted)

    return edit


def checked_config(preset: Any, face: Any, num_steps: Any, seed: Any, align: Any) -> InvertConfig:
    """How a photo is inverted, from what a program sent; ``num_steps`` 0 is the preset's own.

    Raises:
        UsageError: a value that is missing, or cannot be meant.
    """
    if not isinstance(align, bool):
        raise UsageError(f"align is {align!r:.60}; expected true or false.")
    steps = as_whole("num_steps", num_steps, 0, 10**7)
    return InvertConfig(str(preset), None, steps or None, seed, align=align, face=as_whole("face", face, 1, 10**6))


def checked_strengths(strengths: object) -> dict[str, float]:
    """Check strengths by name, as sent by a client.

    Raises:
        UsageError: not of the form {name: number}.
    """
    if not isinstance(strengths, dict):
        raise UsageError(f'the strengths are {strengths!r:.80}; expected numbers by name, such as {{"smile": 2}}.')
    return {str(name): as_strength(str(name), value) for name, value in strengths.items()}


def written(
    app: AppState, session: Session, one: Kept, edited: Inversion, pasted: Any, shown: MarkedImage | None = None
) -> tuple[str | None, ...]:
    """Write the face, the photo, the inversion and the latent to the session's folder; returns their paths.

    ``shown`` is the picture of the face; None for the face at its photo's resolution, where the photo is known.
    """
    face, whole = session.new_file(f"{one.stem}-face.png"), session.new_file(f"{one.stem}.png")
    inversion, latent = session.new_file("inversion.safetensors"), session.new_file("projected_w.npz")
    write_bytes(face, (shown or face_picture(app, edited)).encoded())
    edited.save(inversion)
    write_bytes(latent, latent_bytes(edited.ws.numpy()))
    if pasted is None:
        return str(face), None, str(inversion), str(latent)
    write_bytes(whole, pasted.encoded())
    return str(face), str(whole), str(inversion), str(latent)
