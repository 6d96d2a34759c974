"""The edits of a face (drags, strengths, range of layers, truncation) and their undo history."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from editing.directions.direction import Direction
from editing.edits import moved, truncated, within_reach
from editing.seeds import random_direction
from inversion import Inversion
from relatent.core.errors import UnknownNameError
from relatent.core.numbers import as_strength, as_truncation, digits_in
from stylegan import Generator

MOST_STEPS = 100  # of undo
STEP_SECONDS = 0.7  # changes by one control that follow each other faster are one step


@dataclass(frozen=True, eq=False)
class DragMove:
    """What a drag did to a face, so that other edits can come before and after it.

    Attributes:
        ws: the change of the latents before truncation, [1, L, w_dim].
        name: of the edit.
        mask: where it shows, [1, 1, R, R]; None for everywhere.
        handles: where its points started, (x, y) in pixels of the drawn face.
        targets: where they were to go.
        points: where they came to.
    """

    ws: Tensor
    name: str
    mask: Tensor | None
    handles: tuple[tuple[float, float], ...]
    targets: tuple[tuple[float, float], ...]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Change:
    """All that is done to a face: its drags, and the values of the controls.

    Attributes:
        strengths: by direction; those of 0 are left out.
        layers: (first, last) layer that may move, counted from 0; None for all.
        truncation: 1 keeps the face, 0 is the network's average one.
        drags: oldest first.

    Raises:
        UsageError: a number that cannot be meant.
    """

    strengths: Mapping[str, float] = field(default_factory=dict)
    layers: tuple[int, int] | None = None
    truncation: float = 1.0
    drags: tuple[DragMove, ...] = ()

    def __post_init__(self) -> None:
        strengths = {name: as_strength(name, value) for name, value in self.strengths.items()}
        object.__setattr__(self, "strengths", {name: value for name, value in strengths.items() if value})
        object.__setattr__(self, "truncation", as_truncation(self.truncation))

    @property
    def nothing(self) -> bool:
        """Whether the face is not changed."""
        return not self.strengths and self.truncation == 1 and not self.drags

    @property
    def layer_numbers(self) -> tuple[int, ...] | None:
        """The layers that may change; None for all."""
        return None if self.layers is None else tuple(range(self.layers[0], self.layers[1] + 1))

    def apply(
        self,
        inversion: Inversion,
        network: Generator,
        directions: Mapping[str, Direction],
        layers: tuple[int, ...] | None = None,
    ) -> Inversion:
        """Apply the change to an inversion.

        Args:
            inversion: of ``network``.
            network: the generator.
            directions: by name.
            layers: that may change, in place of the range of this change; None for that range.

        Raises:
            UnknownNameError: there is no such direction.
            UsageError: a direction of another network, or layers that the network does not have.
        """
        moves = [(named(name, network, directions), strength) for name, strength in self.strengths.items()]
        start = dragged(inversion, self.drags)
        if start.mask is not None and self.drags and (moves or self.truncation != 1):
            start = start.replace(mask=inversion.mask)  # what is not dragged shows everywhere
        start = start if self.truncation == 1 else truncated(start, network, self.truncation)
        return moved(start, moves, self.layer_numbers if layers is None else layers)


def dragged(inversion: Inversion, drags: tuple[DragMove, ...]) -> Inversion:
    """An inversion with drags; it shows what they change where one of their masks lets it."""
    if not drags:
        return inversion
    mask = drags[0].mask
    for drag in drags[1:]:
        mask = None if mask is None or drag.mask is None else mask.maximum(drag.mask)
    ws = inversion.ws
    for drag in drags:
        ws = ws + drag.ws
    edits = {**inversion.edits, **{drag.name: 1.0 for drag in drags}}
    origin = inversion.ws if inversion.origin is None else inversion.origin
    if inversion.edits:  # what was edited before stays visible
        mask = inversion.mask if mask is None or inversion.mask is None else mask.maximum(inversion.mask)
    return inversion.replace(ws=within_reach(ws), origin=origin, edits=edits, mask=mask, space="w+")


def named(name: str, network: Generator, directions: Mapping[str, Direction]) -> Direction:
    """A direction of the page by name; "random_7" is the random direction of seed 7.

    Raises:
        UnknownNameError: there is no such direction.
    """
    if name in directions:
        return directions[name]
    prefix, _, digits = name.rpartition("_")
    seed = digits_in(digits)
    if prefix == "random" and seed is not None:
        return random_direction(network, seed)
    raise UnknownNameError("direction", name, directions, "Random ones are called random_SEED.")


class History:
    """The undo history of one face, newest last; changes by one control in quick succession are one step."""

    def __init__(self) -> None:
        self._changes = [Change()]
        self._undone: list[Change] = []
        self._last, self._at = "", 0.0

    @property
    def now(self) -> Change:
        return self._changes[-1]

    @property
    def can_undo(self) -> bool:
        return len(self._changes) > 1

    @property
    def can_redo(self) -> bool:
        return bool(self._undone)

    def add(self, change: Change, control: str = "", at: float | None = None) -> None:
        """Add a change.

        Args:
            change: the new one.
            control: that made it; an empty name always adds a new step.
            at: seconds, as time.monotonic; None for now.
        """
        if change == self.now:
            return
        at = time.monotonic() if at is None else at
        if control and control == self._last and self.can_undo and at - self._at < STEP_SECONDS:
            self._changes[-1] = change
        else:
            self._changes.append(change)
            del self._changes[: -MOST_STEPS - 1]
        self._undone = []
        self._last, self._at = control, at

    def undo(self) -> Change:
        """Go back by one step; returns the change that holds then."""
        if self.can_undo:
            self._undone.append(self._changes.pop())
        self._last = ""
        return self.now

    def redo(self) -> Change:
        """Take back the last :meth:`undo`; returns the change that holds then."""
        if self.can_redo:
            self._changes.append(self._undone.pop())
        self._last = ""
        return self.now
