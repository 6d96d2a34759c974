"""Parses choices of layers: coarse, middle, fine, or numbers.

Layer i reads ``ws[:, i]``. In a StyleGAN2 generator, layer 0 works at 4 px, layers 1 and 2 at 8 px, and so on, two for
each size; the last one is the final ToRGB. The names are those of Karras et al. 2019, sec. 3.1: pose and shape of the
head, then features and hair style, then colours. Alias-free generators have no such sizes; there, the names stand for
the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterable

from relatent.core.errors import UnknownNameError, UsageError
from relatent.core.numbers import as_whole
from relatent.core.ranges import is_number_list, whole_numbers

GROUPS = {"coarse": (4, 8), "middle": (16, 32), "fine": (64, 1024), "all": (4, 1024)}  # sides in pixels
MOST = 10**6  # far beyond any network
LayerChoice = str | int | Iterable[int]


def layer_size(layer: int, num_ws: int) -> int:
    """The resolution of ``layer`` in pixels, in a generator with ``num_ws`` layers that read a w."""
    return min(4 * 2 ** ((layer + 1) // 2), 2 ** (num_ws // 2 + 1))


def layer_numbers(choice: LayerChoice, num_ws: int) -> tuple[int, ...]:
    """The layers of ``choice``, sorted, without duplicates.

    Args:
        choice: "coarse" (4 and 8 px), "middle" (16 and 32 px), "fine" (64 px and more), "all", a number, numbers, or
            text such as "0-3,7" or "coarse,9".
        num_ws: number of the generator's layers that read a w; they are numbered from 0.

    Raises:
        UnknownNameError: there is no such name.
        UsageError: a layer that the generator does not have, a value that is not a whole number, or no layer at all.
    """
    if isinstance(choice, str):
        layers = [layer for piece in filter(None, choice.split(",")) for layer in _piece(piece.strip(), num_ws)]
    else:
        layers = [as_whole("a layer", layer, -MOST, MOST) for layer in _each(choice)]
    outside = [layer for layer in layers if not 0 <= layer < num_ws]
    if outside:
        raise UsageError(f"layer {outside[0]} is not in this network; its layers are 0 to {num_ws - 1}.")
    if not layers:
        size = layer_size(num_ws, num_ws)
        which = (
            f"a network of {size} px has no {choice} layers"
            if isinstance(choice, str) and choice
            else "no layer was named"
        )
        raise UsageError(f"{which}; expected some of 0 to {num_ws - 1}, or {' or '.join(GROUPS)}.")
    return tuple(sorted(set(layers)))


def layer_text(layers: Iterable[int]) -> str:
    """Layers as text with ranges: (0, 1, 2, 7) is "0-2,7"."""
    runs: list[list[int]] = []
    for layer in sorted(set(layers)):
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _piece(text: str, num_ws: int) -> tuple[int, ...]:
    if text in GROUPS:
        smallest, largest = GROUPS[text]
        return tuple(layer for layer in range(num_ws) if smallest <= layer_size(layer, num_ws) <= largest)
    if is_number_list(text):
        return whole_numbers(text, "layers")
    raise UnknownNameError("layers", text, GROUPS, "Numbers work too, for example 0-3,7.")


def _each(choice: object) -> Iterable[object]:
    try:
        return iter(choice)  # type: ignore[call-overload]
    except TypeError:  # a number, or an array of one without axes
        return [choice]
