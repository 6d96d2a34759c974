"""`FaceSetOptions`: what becomes of a photo in a face set, with defaults, checks and help texts."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from relatent.core.alignment import Alignment
from relatent.core.errors import UsageError
from relatent.core.options import described

FACES = ("largest", "all")
LARGEST_SIZE = 4096
HASH_BITS = 256


@dataclass(frozen=True)
class FaceSetOptions:
    """How photos become a face set.

    The options of `python -m relatent.face make-dataset` are generated from its fields.

    Raises:
        UsageError: an invalid value.
    """

    size: int = field(default=256, metadata=described("Side of the faces in pixels.", least=1))
    scale: float = field(default=1.0, metadata=described("Side of the crop, relative to FFHQ's."))
    shift: float = field(default=0.0, metadata=described("How far the crop moves down the face, relative to FFHQ's."))
    face: str = field(default="largest", metadata=described("Which faces of a photo.", choices=FACES))
    most_enlarged: float = field(
        default=1.5, metadata=described("Faces that must be enlarged by more than this are rejected.")
    )
    most_outside: float = field(
        default=0.1, metadata=described("Largest share of the crop that may lie outside the photo.")
    )
    # Of 600 faces of FairFace one pair was 12 bits apart and all others 70 or more. A face that was saved again,
    # reduced, brightened or cropped by a pixel differed from itself in 26 at most.
    most_alike: int = field(
        default=32,
        metadata=described(
            f"Faces whose hashes differ in so many of {HASH_BITS} bits are the same; -1 keeps all.", least=-1
        ),
    )

    def __post_init__(self) -> None:
        _require(self, "size", 8, LARGEST_SIZE, int)
        _require(self, "scale", 0.05, 20)
        _require(self, "shift", -2, 2)
        _require(self, "most_enlarged", 0.01, 1000)
        _require(self, "most_outside", 0, 1)
        _require(self, "most_alike", -1, HASH_BITS, int)
        if self.face not in FACES:
            raise UsageError(f"face is {self.face!r:.60}; expected {' or '.join(FACES)}.")

    @property
    def alignment(self) -> Alignment:
        return Alignment(self.scale, self.shift)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def _require(options: FaceSetOptions, name: str, low: float, high: float, kind: type = float) -> None:
    value = getattr(options, name)
    right = isinstance(value, int) if kind is int else isinstance(value, int | float) and math.isfinite(value)
    if not right or isinstance(value, bool) or not low <= value <= high:
        whole = "a whole number" if kind is int else "a number"
        raise UsageError(f"{name} is {value!r:.60}; expected {whole} from {low:g} to {high:g}.")
