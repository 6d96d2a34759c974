"""`edit` moves the latents of an inversion along directions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from editing.directions.direction import Direction, find_direction
from editing.faces import FaceLike, open_face
from editing.layers import LayerChoice, layer_numbers
from inversion import Inversion
from inversion.pipeline import open_network
from relatent.core.errors import UsageError
from relatent.core.images import to_pixels
from relatent.core.numbers import as_strength, as_truncation
from relatent.face.regions import check_regions, drawn_landmarks, edit_mask
from stylegan import Generator

FARTHEST = 1e5  # of any value of ws; those of faces are of the order of 1


def edit(
    face: FaceLike,
    strengths: Mapping[str, float] | None = None,
    /,
    *,
    directions: Sequence[Direction] = (),  # further ones, found by their names before those that ship
    folders: Sequence[Path] = (),  # folders of further ones
    only: Iterable[str] = (),  # regions in which alone the edit may show; empty for everywhere
    keep: Iterable[str] = (),  # regions that stay as they are
    layers: LayerChoice | None = None,  # the only ones that directions may move, see layer_numbers; None for theirs
    truncation: float = 1.0,  # what stays of the way from the network's average face, before the moves
    network: Generator | str | Path | None = None,  # of latents, photos and seeds; spares loading an inversion's own
    **more: float,  # strengths by name: smile=2, age=-1
) -> Inversion:
    """Move an inversion along named directions; noise, tuned weights and the position in the photo are kept.

    The face is an inversion, or whatever :func:`editing.faces.open_face` takes: a folder, latents, a photo, a seed.

    Strength 1 is one of the direction's own unit, usually one standard deviation of its attribute. What comes out
    remembers where it came from: further edits add up, and ``unedited()`` goes back.

    Raises:
        UnknownNameError: there is no such direction or region.
        UsageError: a direction of another network, layers that the network does not have, or a strength that is not
            finite.
        ShapeError: a direction does not fit the latents.
    """
    only, keep = check_regions(only), check_regions(keep)
    wanted = {**(strengths or {}), **more}
    inversion = open_face(face, network)
    if network is not None and not isinstance(network, Generator):
        network = open_network(network)
    moves = [(find(name, inversion, directions, folders), as_strength(name, value)) for name, value in wanted.items()]
    if truncation != 1:
        network = inversion.open_network() if network is None else network
        inversion = truncated(inversion, network, truncation)
    edited = moved(inversion, moves, layers)
    return within(edited, only, keep, network) if only or keep else edited


def moved(
    inversion: Inversion, moves: Iterable[tuple[Direction, float]], layers: LayerChoice | None = None
) -> Inversion:
    """Move an inversion along directions, restricted to ``layers``; raises as :func:`edit` does."""
    ws, edits, space = inversion.ws, dict(inversion.edits), inversion.space
    free = None if layers is None else set(layer_numbers(layers, ws.shape[1]))
    for direction, wanted in moves:
        strength = as_strength(direction.name, wanted)
        direction.check_network(inversion.network)
        if free is not None:
            changed = range(ws.shape[1]) if direction.layers is None else direction.layers
            direction = direction.replace(layers=tuple(free.intersection(changed)))
        ws = direction.apply(ws, strength)
        edits[direction.name] = edits.get(direction.name, 0.0) + strength
        if direction.vector.ndim == 2 or direction.layers is not None:
            space = "w+"
    origin = inversion.ws if inversion.origin is None else inversion.origin
    return inversion.replace(ws=within_reach(ws), origin=origin, edits=edits, space=space)


def truncated(inversion: Inversion, network: Generator, psi: float) -> Inversion:
    """Apply the truncation trick to an inversion: w_avg + psi (ws - w_avg).

    Args:
        inversion: of ``network``.
        network: the generator.
        psi: 1 leaves ws unchanged, 0 gives the average face, values above 1 exaggerate.

    Raises:
        UsageError: no number from -100 to 100, or an inversion of another network.
    """
    psi = as_truncation(psi)
    average = inversion.check_network(network).w_avg.detach().float().cpu()
    ws = average + psi * (inversion.ws - average)  # [1, L, w_dim]
    origin = inversion.ws if inversion.origin is None else inversion.origin
    return inversion.replace(ws=within_reach(ws), origin=origin, edits={**inversion.edits, "truncation": psi})


def within(
    edited: Inversion, only: Iterable[str] = (), keep: Iterable[str] = (), network: Generator | None = None
) -> Inversion:
    """Restrict an edit to regions; elsewhere the picture before the edit is shown.

    Args:
        edited: result of :func:`edit`.
        only: regions to restrict it to (:data:`relatent.face.regions.REGIONS`); empty for everywhere.
        keep: regions that the edit does not change.
        network: the generator if it is loaded already.

    Raises:
        UnknownNameError: there is no such region.
    """
    only, keep = check_regions(only), check_regions(keep)
    generator = edited.open_network() if network is None else edited.check_network(network)
    free = edited.replace(mask=None)
    pictures = [to_pixels(one.tensor(generator))[0] for one in (edited.unedited(), free)]
    faces = [drawn_landmarks(picture, generator.alignment) for picture in pictures]
    mask = edit_mask(only, keep, faces, generator.resolution)
    return edited.replace(mask=torch.from_numpy(mask)[None, None])


def find(
    name: str, inversion: Inversion, directions: Sequence[Direction] = (), folders: Sequence[Path] = ()
) -> Direction:
    """The direction of that name in ``directions``, in ``folders``, among those of the network, or at that path."""
    known = {direction.name: direction for direction in directions}
    return known[name] if name in known else find_direction(name, inversion.network, folders)


def within_reach(ws: Tensor) -> Tensor:
    """ws as they are, unless an edit has moved them where no network draws anything.

    Raises:
        UsageError: values that are not finite, or beyond ``FARTHEST``.
    """
    if not bool((ws.abs() <= FARTHEST).all()):  # neither is NaN
        raise UsageError("the edit leads to latents that no network can draw. Use smaller strengths.")
    return ws
