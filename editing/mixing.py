"""Style mixing of inversions (Karras et al. 2019, sec. 3.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import cast

import torch

from editing.faces import FaceLike, open_faces
from editing.layers import LayerChoice, layer_numbers, layer_text
from inversion.inversion import Inversion
from relatent.core.errors import UsageError
from relatent.core.numbers import as_number
from stylegan.networks.generator import Generator

FARTHEST = 100.0  # strengths; 1 is all the way to the other face


def mix(
    a: FaceLike,
    b: FaceLike | Sequence[FaceLike],
    layers: LayerChoice | Sequence[LayerChoice] = "coarse",
    strength: float | Sequence[float] = 1.0,
    *,
    network: Generator | str | Path | None = None,
) -> Inversion:
    """Replace the latents of ``a`` by those of ``b`` in some layers; noise, mask, tuned weights and position are kept.

    Args:
        a: the face that is changed, an inversion or whatever :func:`editing.faces.open_face` takes; it stays as it is.
        b: whose styles come in, one face or several. Of several, a later one comes on top of an earlier one.
        layers: where, as :func:`editing.layers.layer_numbers` takes it; for several inversions one choice for each.
        strength: how far from ``a`` (0) to ``b`` (1), -100 to 100; less than 0 or more than 1 goes beyond. For several
            inversions one number, or one for each.
        network: of latents, photos and seeds; None for that of the first inversion.

    Returns:
        A new inversion in W+, or in W if all layers have the same w; ``origin`` is ``a`` before any edit.

    Raises:
        UsageError: inversions of different networks, layers that the network has not, not as many choices as
            inversions, or a strength that is no number in range.
        UnknownNameError: an unknown name for layers.
    """
    several = isinstance(b, Sequence) and not isinstance(b, str)
    others: list[FaceLike] = list(cast("Sequence[FaceLike]", b)) if several else [cast("FaceLike", b)]
    choices = _one_each(layers, len(others)) if several else [cast(LayerChoice, layers)]
    a, *sources = open_faces([a, *others], network)
    strengths = list(strength) if isinstance(strength, Sequence) else [strength] * len(sources)
    if len(strengths) != len(sources):
        raise UsageError(f"{len(strengths)} strengths came for {len(sources)} inversions; expected one for each.")
    require_same_network([a, *sources])
    ws = a.ws.clone()  # [1, L, w_dim]
    edits = dict(a.edits)
    for source, choice, amount in zip(sources, choices, strengths, strict=True):
        amount = as_number("the strength", amount, -FARTHEST, FARTHEST, example="0.5")
        index = list(layer_numbers(choice, ws.shape[1]))
        ws[:, index] = torch.lerp(ws[:, index], source.ws[:, index], amount)
        edits[f"mix:{short_name(source)}:{layer_text(index)}"] = amount
    space = "w" if bool((ws == ws[:, :1]).all()) else "w+"
    return a.replace(ws=ws, space=space, origin=a.ws if a.origin is None else a.origin, edits=edits)


def mix_grid(
    rows: Sequence[Inversion], cols: Sequence[Inversion], layers: LayerChoice = "0-6", strength: float = 1.0
) -> list[list[Inversion]]:
    """Mix all pairs of rows and columns: ``grid[i][j] = mix(rows[i], cols[j], layers, strength)``.

    Raises:
        UsageError: as :func:`mix`, or there are no rows or no columns.
    """
    if not rows or not cols:
        raise UsageError(f"the grid has {len(rows)} rows and {len(cols)} columns; expected at least one of each.")
    choice = layer_numbers(layers, rows[0].ws.shape[1])  # once, because an iterator can be read only once
    return [[mix(row, col, choice, strength) for col in cols] for row in rows]


def require_same_network(inversions: Iterable[Inversion]) -> None:
    """Check that all inversions belong to one network.

    Raises:
        UsageError: two of them belong to different networks, or have latents of different shapes.
    """
    for one, other in pairwise(inversions):
        same = one.network.partition("@")[2] == other.network.partition("@")[2]
        if not same or one.ws.shape != other.ws.shape:
            what = "have latents of different sizes" if same else "are different networks"
            raise UsageError(
                f"{short_name(one)} belongs to {one.network} and {short_name(other)} to {other.network}, which {what}; "
                "only latents of one network can be combined. Invert both photos with the same --network."
            )


def short_name(inversion: Inversion) -> str:
    """A name for a face: its photo's file name without suffix, or its seed."""
    return Path(inversion.photo).stem or f"seed{inversion.seed:04}"


def _one_each(layers: LayerChoice | Sequence[LayerChoice], count: int) -> list[LayerChoice]:
    choices: list[LayerChoice] = [layers] if isinstance(layers, str | int) else list(layers)
    if not count or len(choices) != count:
        raise UsageError(
            f"{len(choices)} choices of layers came for {count} inversions; expected one for each, "
            'for example ["coarse", "fine"] for two.'
        )
    return choices
