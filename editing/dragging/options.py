"""`DragOptions`: all options of a drag, with their defaults, checks and help texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from relatent.core.errors import UsageError
from relatent.core.numbers import as_number, as_whole
from relatent.core.options import described

Pixels = Literal["photo", "face"]
PIXELS: tuple[Pixels, ...] = ("photo", "face")
MOST_POINTS = 100


@dataclass(frozen=True)
class DragOptions:
    """How a face is dragged. Lengths are relative to the side of the face's square.

    Raises:
        UsageError: an invalid value.
    """

    pixels: str = field(
        default="photo",
        metadata=described("Whose pixels the points are in: the photo's, or the drawn face's.", choices=PIXELS),
    )
    num_steps: int = field(default=40, metadata=described("The most steps.", least=1))
    tolerance: float = field(
        default=0.5, metadata=described("A point has arrived this close to its target, in per cent of the face's side.")
    )
    limit: float = field(
        default=30.0,
        metadata=described(
            "Stop where the face has changed by this percentage of the usual difference between two people."
        ),
    )
    level: int | None = field(
        default=None,
        metadata=described(
            "Rate of the features, in pixels a side.  [default: a quarter of the network's, 32 to 128]", least=4
        ),
    )
    radius: float | None = field(
        default=None, metadata=described("Of the patch around a point, in per cent of the face's side.  [default: 5]")
    )
    damping: float = field(
        default=1.0, metadata=described("Pull towards usual latents: more changes more than the point, more plausibly.")
    )

    def __post_init__(self) -> None:
        if self.pixels not in PIXELS:
            raise UsageError(f"pixels is {self.pixels!r:.60}; expected photo or face.")
        for name, low, high in (("tolerance", 0.01, 50), ("limit", 0, 1000), ("damping", 1e-6, 1e6)):
            object.__setattr__(self, name, as_number(name, getattr(self, name), low, high))
        object.__setattr__(self, "num_steps", as_whole("num_steps", self.num_steps, 1, 10_000))
        if self.level is not None:
            object.__setattr__(self, "level", as_whole("level", self.level, 4, 1024))
        if self.radius is not None:
            object.__setattr__(self, "radius", as_number("radius", self.radius, 0.5, 25))
