"""The page for programs: `/invert` and `/edit` by name. Nothing is remembered between two calls.

What they give back are files of the caller's own session; fetch them before it ends. docs/page.md shows the calls.
"""

from __future__ import annotations

import dataclasses
import math
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
from relatent.core.errors import UsageError
from relatent.core.files import write_bytes
from relatent.web.actions.edit import Change
from relatent.web.actions.faces import Found
from relatent.web.actions.invert import inverting
from relatent.web.actions.latent_files import open_latent
from relatent.web.actions.results import face_picture, in_photo
from relatent.web.errors import handler
from relatent.web.queue import follow
from relatent.web.session import Kept, Session
from relatent.web.studio import Studio
from relatent.web.uploads import check_upload, read_upload


def add(studio: Studio, session: gr.State) -> None:
    """The endpoints, inside a Blocks context; their widgets are never seen."""
    with gr.Column(visible=False):
        _add_invert(studio, session)
        _add_edit(studio, session)


def _add_invert(studio: Studio, session: gr.State) -> None:
    inputs = [
        gr.File(label="photo"),
        gr.Dropdown(list(studio.presets), value=DEFAULT_PRESET, label="preset"),
        gr.Number(1, label="face", precision=0),
        gr.Number(0, label="num_steps", precision=0),
        gr.Number(DEFAULT_SEED, label="seed", precision=0),
        gr.Checkbox(True, label="align"),
    ]
    outputs = [gr.File(label="face"), gr.File(label="inversion"), gr.File(label="latent"), gr.JSON(label="facts")]
    gr.Button("invert").click(
        _invert(studio), [session, *inputs], outputs, api_name="invert", concurrency_limit=None,
        api_description="A photo's face into the latent space. num_steps 0 is the preset's own; faces count from 1, "
        "largest first. Gives the drawn face (PNG), inversion.safetensors, projected_w.npz and the measures.",
    )  # fmt: skip


def _add_edit(studio: Studio, session: gr.State) -> None:
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
        _edit(studio), [session, *inputs], outputs, api_name="edit", concurrency_limit=None,
        api_description="An inversion moved along directions, {name: strength}. With the photo, also the whole photo "
        "with the edited face. Gives the face (PNG), the photo (PNG) or None, inversion.safetensors and the latent.",
    )  # fmt: skip


def _invert(studio: Studio) -> Any:
    @handler
    async def invert(
        session: Session, photo: str | None, preset: str, face: float, num_steps: float, seed: float, align: bool
    ) -> AsyncIterator[Any]:
        if not photo:
            raise UsageError("no photo came; expected a picture file as the first argument.")
        if int(face) < 1:
            raise UsageError(f"face is {face:g}; expected a number from 1, largest first.")
        path = session.take_upload(Path(photo))
        source = read_upload(path, studio.settings.limits)
        config = InvertConfig(preset, None, int(num_steps) or None, int(seed), align=align, face=int(face))
        found = Found(path, path.name, (), int(face))
        job = studio.queue.start(inverting(studio, source, found, config), session)
        async for news in follow(job, 1.0):
            yield None, None, None, {"ahead": news.ahead, "step": news.done, "of": news.total}
        done = job.result()
        one = Kept("", path.name, path.stem, done.inversion, done.aligned)
        face_file, _, inversion, latent = written(studio, session, one, done.inversion, None)
        yield face_file, inversion, latent, done.facts

    return invert


def _edit(studio: Studio) -> Any:
    @handler
    def edit(
        session: Session,
        inversion: str | None,
        strengths: Any,
        photo: str | None,
        layers: str,
        truncation: float,
        blend: Any,
    ) -> Any:
        if not inversion:
            raise UsageError("no inversion came; expected a file that /invert or inversion.project has written.")
        source = Path(inversion)
        with studio.network_lock.quick():
            face = open_latent(check_upload(source, studio.settings.limits), studio.network)
        change = Change(checked_strengths(strengths), None, float(truncation))
        numbers = layer_numbers(layers, studio.network.num_ws) if layers else None
        edited = change.apply(face, studio.network, studio.directions, numbers)
        one = Kept("", source.name, source.stem, face, np.zeros((1, 1, 3), np.uint8))
        pasted = None
        if photo:
            path = session.take_upload(Path(photo))
            read_upload(path, studio.settings.limits)  # whether it may be read at all
            pasted = in_photo(studio, dataclasses.replace(one, photo=path), edited, blend)
        return written(studio, session, one, edited, pasted)

    return edit


def checked_strengths(strengths: object) -> dict[str, float]:
    """Strengths by name from what a program sent.

    Raises:
        UsageError: something else than {name: number}.
    """
    pairs = strengths.items() if isinstance(strengths, dict) else None
    numbers = (int, float)
    if pairs is None or not all(
        isinstance(name, str) and isinstance(value, numbers) and not isinstance(value, bool) and math.isfinite(value)
        for name, value in pairs
    ):
        raise UsageError(f'the strengths are {strengths!r:.80}; expected numbers by name, such as {{"smile": 2}}.')
    return {name: float(value) for name, value in pairs}


def written(studio: Studio, session: Session, one: Kept, edited: Inversion, pasted: Any) -> tuple[str | None, ...]:
    """Paths of the face, the photo, the inversion and the latent, in the session's folder."""
    face, whole = session.new_file(f"{one.stem}-face.png"), session.new_file(f"{one.stem}.png")
    inversion, latent = session.new_file("inversion.safetensors"), session.new_file("projected_w.npz")
    write_bytes(face, face_picture(studio, edited).encoded())
    edited.save(inversion)
    write_bytes(latent, latent_bytes(edited.ws.numpy()))
    if pasted is None:
        return str(face), None, str(inversion), str(latent)
    write_bytes(whole, pasted.encoded())
    return str(face), str(whole), str(inversion), str(latent)
