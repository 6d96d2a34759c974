"""The API endpoint `/mix`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from editing.mixing import mix
from relatent.core.errors import UsageError
from relatent.web.actions.latent_files import open_latent
from relatent.web.actions.results import in_photo
from relatent.web.api.edit import written
from relatent.web.errors import handler
from relatent.web.session import Kept, Session
from relatent.web.state import AppState
from relatent.web.uploads import check_count, check_upload, read_upload


def add(app: AppState, session: gr.State) -> None:
    """Add the endpoint inside a Blocks context; its widgets are hidden."""
    with gr.Column(visible=False):
        inputs = [
            gr.File(label="faces", file_count="multiple"),
            gr.JSON(["coarse"], label="layers"),
            gr.JSON([1.0], label="strength"),
            gr.File(label="photo"),
        ]
        outputs = [gr.File(label=name) for name in ("face", "pasted", "inversion", "latent")]
        gr.Button("mix").click(
            _mix(app), [session, *inputs], outputs, api_name="mix", concurrency_limit=None,
            api_description="The first face with the styles of the others. faces: inversion.safetensors, .npz, .npy or "
            ".pt files; layers: a list of coarse, middle, fine, all or numbers such as 0-3,7, one for all or one for "
            "each further face; strength: a list of numbers from 0 to 1, likewise. With the first face's photo, also "
            "the whole photo. Gives the face (PNG), the photo (PNG) or None, inversion.safetensors and the latent.",
        )  # fmt: skip


def _mix(app: AppState) -> Any:
    @handler
    def mix_faces(session: Session, faces: list[str] | None, layers: Any, strength: Any, photo: str | None) -> Any:
        limits = app.settings.limits
        paths = [check_upload(Path(face), limits) for face in faces or []]
        if len(paths) < 2:
            raise UsageError(f"{len(paths)} faces came; expected the one to change and at least one to mix in.")
        check_count(paths, limits)
        with app.network_lock.quick():
            first, *others = [open_latent(path, app.network) for path in paths]
        mixed = mix(first, others, one_each(layers, len(others), str), one_each(strength, len(others), float, int))
        one = Kept("", paths[0].name, f"{paths[0].stem}-mixed", first, np.zeros((1, 1, 3), np.uint8))
        pasted = None
        if photo:
            path = session.take_upload(Path(photo))
            read_upload(path, limits)  # to check it against the limits
            pasted = in_photo(app, dataclasses.replace(one, photo=path), mixed)
        return written(app, session, one, mixed, pasted)

    return mix_faces


def one_each(value: Any, count: int, *kinds: type) -> list[Any]:
    """Expand a value sent by a client to a list of ``count``: a list of that length, or one value for all.

    Raises:
        UsageError: values of other types than ``kinds``, or a list of another length.
    """
    values = value if isinstance(value, list) else [value]
    values = values * count if len(values) == 1 else values
    if len(values) != count or any(isinstance(one, bool) or not isinstance(one, kinds) for one in values):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise UsageError(f"{value!r:.80} came for {count} further faces; expected {names}, one for all or for each.")
    return values
