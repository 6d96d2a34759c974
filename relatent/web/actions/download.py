"""Downloads: pictures with provenance, latents, and the equivalent commands and Python code."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NamedTuple

from editing.layers import layer_text
from editing.pasting import DEFAULT_BLEND, Blend
from inversion.batch.report import latent_bytes
from relatent.core.errors import UnknownNameError, UsageError
from relatent.core.files import write_bytes
from relatent.core.location import has_location, without_location
from relatent.web.actions.edit import Change, DragMove, named
from relatent.web.actions.photo_files import encoded_photo, photo_suffix
from relatent.web.actions.results import changed, face_picture, in_photo
from relatent.web.session import Kept, Session
from relatent.web.state import AppState, public_name
from weights.embedded import DEFAULT_NETWORK

LOCATION_NOTE = "The place where the photo was taken (GPS) was left out."
KINDS = {
    "photo": "Download photo",
    "photo-png": "Photo, PNG",
    "photo-jpeg": "Photo, JPEG",
    "face-png": "Face, PNG",
    "drawn-png": "Drawing, PNG",
    "latent": "Latent, .npz",
    "inversion": "Project file",
    "direction": "Save this direction",
}


class Download(NamedTuple):
    """A file to download.

    Attributes:
        path: in the session's folder.
        note: what was left out of it, as a sentence; empty for nothing.
    """

    path: Path
    note: str = ""


def write_download(
    app: AppState, session: Session, one: Kept, kind: str, blend: Blend = DEFAULT_BLEND, *, location: bool = False
) -> Download:
    """Write a file of this session with the face as it is now.

    Args:
        app: the shared state.
        session: the session in whose folder the file is written.
        one: the face.
        kind: a key of :data:`KINDS`.
        blend: how the face is pasted into the photo.
        location: keep in a photo where it was taken (GPS).

    Raises:
        UnknownNameError: there is no such kind.
        UsageError: a photo or a random direction was requested, and there is none.
    """
    if kind not in KINDS:
        raise UnknownNameError("kind of file", kind, KINDS)
    edited, note = changed(app, one), ""
    name = f"{one.stem}-edited" if edited.edits else one.stem
    if kind == "latent":
        path = session.new_file(f"{name}.npz")
        write_bytes(path, latent_bytes(edited.ws.numpy()))
    elif kind == "inversion":
        path = session.new_file(f"{name}.safetensors")
        edited.save(path)
    elif kind == "direction":
        path = _write_random_direction(app, session, one.history.now)
    elif kind == "face-png":
        path = session.new_file(f"{name}-face.png")
        write_bytes(path, face_picture(app, edited, blend).encoded())
    elif kind == "drawn-png":
        path = session.new_file(f"{name}-drawn.png")
        with app.network_lock.quick():
            picture = edited.image(app.network)
        write_bytes(path, picture.encoded())
    else:
        whole = in_photo(app, one, edited, blend, session.beside(one))
        if whole is None:
            raise UsageError("this face has no photo to go back into. Download the face, or choose a photo first.")
        if whole.photo is not None and not location and has_location(whole.photo):
            whole.photo, note = without_location(whole.photo), LOCATION_NOTE
        name = f"{one.stem}-edited" if edited.edits or session.beside(one) else one.stem
        suffix = {"photo-jpeg": ".jpg", "photo-png": ".png"}.get(kind) or photo_suffix(one.photo)
        path = session.new_file(f"{name}{suffix}")
        write_bytes(path, encoded_photo(whole, suffix))
    return Download(path, note)


def _write_random_direction(app: AppState, session: Session, change: Change) -> Path:
    """Write the random direction of a change, which the command line needs as a file."""
    name = next((name for name in change.strengths if name not in app.directions), None)
    if name is None:
        raise UsageError("no random direction is in use. Press Random direction, or move its slider, first.")
    path = session.new_file(f"{name}.safetensors")
    named(name, app.network, app.directions).save(path)
    return path


def command_lines(app: AppState, one: Kept, blend: Blend = DEFAULT_BLEND) -> str:
    """The commands that invert and edit the photo as the page did."""
    change, facts = one.history.now, one.facts
    photo = one.photo.name if one.photo else "photo.jpg"
    invert = ["python -m inversion.project", shlex.quote(photo), *_network_option(app)]
    if one.preset:
        invert += ["--preset", one.preset, "--seed", str(one.inversion.seed)]
    invert += [f"--num-steps {facts['num_steps']}"] if facts.get("num_steps") else []
    invert += [f"--space {facts['space']}"] if facts.get("space") else []
    face = int(facts.get("face", 1))
    invert += [f"--face {face}"] if face > 1 else []
    folder = Path(photo).stem + (f"-face{face}" if face > 1 else "")
    folder = f"out/{folder}"
    drags = []
    for drag in change.drags:
        ends = [f"--from {x:.2f},{y:.2f} --to {to_x:.2f},{to_y:.2f}" for (x, y), (to_x, to_y) in _ways(drag)]
        mask = [] if drag.mask is None else ["--mask mask.png"]  # painted on the page
        drags.append(" ".join(["python -m editing drag", shlex.quote(folder), "--pixels face", *ends, *mask]))
        folder = f"{folder.removesuffix('/edited.safetensors')}/edited.safetensors"
    edit = ["python -m editing edit", shlex.quote(folder)]
    edit += [f"--set {_file_or_name(app, name)}={value:g}" for name, value in change.strengths.items()]
    edit += [f"--layers {layer_text(change.layer_numbers)}"] if change.layer_numbers is not None else []
    edit += [f"--truncation {change.truncation:g}"] if change.truncation != 1 else []
    edit += [f"--blend {blend}"] if blend != DEFAULT_BLEND else []
    lines = [*([" ".join(invert)] if one.photo else []), *drags]
    moved = change.strengths or change.truncation != 1
    return "\n".join([*lines, " ".join(edit)] if moved else lines)


def python_lines(app: AppState, one: Kept, blend: Blend = DEFAULT_BLEND) -> str:
    """The equivalent Python code."""
    change, facts = one.history.now, one.facts
    photo = repr(one.photo.name if one.photo else "photo.jpg")
    options = [f"preset={one.preset!r}, seed={one.inversion.seed}"] if one.preset else []
    options += [f"{name}={facts[name]!r}" for name in ("num_steps", "space") if facts.get(name)]
    options += [f"face={facts['face']}"] if facts.get("face", 1) > 1 else []
    network = public_name(app.settings.network)
    options += [f"network={network!r}"] if network != DEFAULT_NETWORK else []
    strengths = {_file_or_name(app, name): value for name, value in change.strengths.items()}
    edits = [repr(strengths)]
    edits += [f"layers={layer_text(change.layer_numbers)!r}"] if change.layer_numbers is not None else []
    edits += [f"truncation={change.truncation:g}"] if change.truncation != 1 else []
    how = f", blend={blend!r}" if blend != DEFAULT_BLEND else ""
    start = f"me = invert({', '.join([photo, *options])})" if one.photo else 'me = Inversion.load("face.safetensors")'
    drags = []
    for drag in change.drags:
        ends = [
            [tuple(round(value, 2) for value in point) for point in points] for points in zip(*_ways(drag), strict=True)
        ]
        drags.append(f'me = drag(me, {ends[0]}, {ends[1]}, options=DragOptions(pixels="face"))')
    return "\n".join(
        [
            f"from editing import {'DragOptions, drag, ' if drags else ''}edit, paste_back",
            "from inversion import Inversion, invert",
            "",
            start,
            *drags,
            f"changed = edit(me, {', '.join(edits)})",
            'changed.image().save("face.png")',
            *([f'paste_back(changed, {photo}{how}).save("photo-edited.png")'] if one.photo else []),
        ]
    )


def _ways(drag: DragMove) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Start and end of each point, in pixels of the drawn face."""
    return list(zip(drag.handles, drag.targets, strict=True))


def _network_option(app: AppState) -> list[str]:
    name = public_name(app.settings.network)
    return [] if name == DEFAULT_NETWORK else ["--network", shlex.quote(name)]


def _file_or_name(app: AppState, name: str) -> str:
    return name if name in app.directions else f"{name}.safetensors"
