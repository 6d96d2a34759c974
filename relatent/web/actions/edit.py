"""What the Edit tab asks for: strengths, a range of layers, truncation; and the way back. Knows no gradio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from editing.directions.direction import Direction
from editing.edits import moved, truncated
from editing.seeds import random_direction
from inversion import Inversion
from relatent.core.errors import UnknownNameError
from relatent.core.numbers import as_strength, as_truncation, digits_in
from stylegan import Generator

MOST_STEPS = 100  # back; more are forgotten


@dataclass(frozen=True)
class Change:
    """All that the controls of the Edit tab say.

    Attributes:
        strengths: by direction; those of 0 are left out.
        layers: (first, last) layer that may move, counted from 0; None for all.
        truncation: 1 keeps the face, 0 is the network's average one.

    Raises:
        UsageError: a number that cannot be meant.
    """

    strengths: Mapping[str, float] = field(default_factory=dict)
    layers: tuple[int, int] | None = None
    truncation: float = 1.0

    def __post_init__(self) -> None:
        strengths = {name: as_strength(name, value) for name, value in self.strengths.items()}
        object.__setattr__(self, "strengths", {name: value for name, value in strengths.items() if value})
        object.__setattr__(self, "truncation", as_truncation(self.truncation))

    @property
    def nothing(self) -> bool:
        """Whether the face stays as it is."""
        return not self.strengths and self.truncation == 1

    @property
    def layer_numbers(self) -> tuple[int, ...] | None:
        """The layers that may move; None for all."""
        return None if self.layers is None else tuple(range(self.layers[0], self.layers[1] + 1))

    def apply(
        self,
        inversion: Inversion,
        network: Generator,
        directions: Mapping[str, Direction],
        layers: tuple[int, ...] | None = None,
    ) -> Inversion:
        """The inversion changed.

        Args:
            inversion: of ``network``.
            network: knows its average face.
            directions: by name.
            layers: that may move, where they are no range; None for the range of this change.

        Raises:
            UnknownNameError: a direction of an unknown name.
            UsageError: a direction of another network, or layers that it has not.
        """
        moves = [(named(name, network, directions), strength) for name, strength in self.strengths.items()]
        start = inversion if self.truncation == 1 else truncated(inversion, network, self.truncation)
        return moved(start, moves, self.layer_numbers if layers is None else layers)


def named(name: str, network: Generator, directions: Mapping[str, Direction]) -> Direction:
    """A direction of the page by its name; "random_7" is the random one of seed 7.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if name in directions:
        return directions[name]
    prefix, _, digits = name.rpartition("_")
    seed = digits_in(digits)
    if prefix == "random" and seed is not None:
        return random_direction(network, seed)
    raise UnknownNameError("direction", name, directions, "Random ones are called random_SEED.")


class History:
    """The changes of one face, newest last; moving one control again and again is one step."""

    def __init__(self) -> None:
        self._changes = [Change()]
        self._last = ""

    @property
    def now(self) -> Change:
        return self._changes[-1]

    @property
    def can_undo(self) -> bool:
        return len(self._changes) > 1

    def add(self, change: Change, control: str = "") -> None:
        """Remember a change that ``control`` has made; empty for one that is always a step of its own."""
        if change == self.now:
            return
        if control and control == self._last and self.can_undo:
            self._changes[-1] = change
        else:
            self._changes.append(change)
            del self._changes[: -MOST_STEPS - 1]
        self._last = control

    def undo(self) -> Change:
        """The change before the last one, which is now the newest."""
        if self.can_undo:
            self._changes.pop()
        self._last = ""
        return self.now
