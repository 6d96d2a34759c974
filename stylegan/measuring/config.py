"""The choices of `python -m stylegan metrics`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from relatent.core.errors import UsageError
from stylegan.bounds import require_number, require_whole, shown

FEATURES = ("available", "backbone", "inception")
MOST = 10**6


def whole(default: int, text: str, least: int = 1) -> Any:
    return field(default=default, metadata={"help": text, "least": least})


@dataclass(frozen=True)
class MetricsConfig:
    """Choices of a measurement; the command line's options are made from the fields."""

    features: str = field(
        default="available",
        metadata={"choices": FEATURES, "help": "Inception's as well where fetched, never, or as a must."},
    )
    samples: int = whole(5000, "Pictures generated; published FIDs are of 50,000.", 20)
    truncation_psi: float = field(default=1.0, metadata={"help": "Truncation of the pictures generated."})
    neighbours: int = whole(3, "Neighbours that precision and recall reach to.")
    paths: int = whole(1000, "Pairs of latents for each path length; 0 for none.", 0)
    separability_samples: int = whole(4000, "Pictures for separability; 0 for none.", 0)
    seed: int = field(default=0, metadata={"help": "Of everything random."})

    def __post_init__(self) -> None:
        if self.features not in FEATURES:
            raise UsageError(f"features is {shown(self.features)}; expected one of {', '.join(FEATURES)}.")
        require_whole("samples", self.samples, 20, MOST)
        require_number("truncation_psi", self.truncation_psi, -10, 10)
        require_whole("neighbours", self.neighbours, 1, 100)
        require_whole("paths", self.paths, 0, MOST)
        require_whole("separability_samples", self.separability_samples, 0, MOST)
        require_whole("seed", self.seed, -(2**63), 2**63 - 1)
