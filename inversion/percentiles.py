"""Where a photo stands among faces that the same preset was measured on: whether it was an easy one or a hard one.

Beside an embedded network lies ``standing.json``, which ``python -m benchmarks.standing`` writes: for each preset, the
LPIPS of faces that no network was trained on. It counts only for the network, encoder, curvature, settings and trunk
it names.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inversion.presets import Plan
from relatent.core.errors import CheckpointError
from stylegan import Generator, network_id
from stylegan.formats.checkpoint import same_network
from weights.embedded import curvature_path, encoder_path, standing_path

FORMAT = "relatent-standing-2"


@dataclass(frozen=True)
class Standing:
    """How many of the measured faces came out better than this one.

    Attributes:
        easier: faces whose LPIPS is smaller.
        faces: faces that were measured.
    """

    easier: int
    faces: int

    @property
    def share(self) -> float:
        """Of the faces that were easier, 0 to 1."""
        return self.easier / self.faces

    def __str__(self) -> str:
        return f"harder than {self.easier} of {self.faces} validation faces"


@dataclass(frozen=True)
class MeasuredFaces:
    """What one preset left of the faces it was measured on.

    Attributes:
        trunk: whose LPIPS.
        lpips: of each face, ascending.
    """

    trunk: str
    lpips: tuple[float, ...]

    def place(self, lpips: float, trunk: str) -> Standing | None:
        """Where a face of that LPIPS stands; None where another trunk measured it."""
        return Standing(bisect.bisect_left(self.lpips, lpips), len(self.lpips)) if trunk == self.trunk else None


def measured_faces(network: Generator, preset: str, plan: Plan) -> MeasuredFaces | None:
    """The faces to compare with, or None if none were measured with this very network, plan, encoder and curvature.

    Raises:
        CheckpointError: the file beside the network is damaged.
    """
    path = standing_path(network.name)
    if path is None:
        return None
    table = _read(path)
    entry = table["presets"].get(preset)
    if entry is None or not same_network(table["network"], network_id(network)):
        return None
    made = {"settings": settings_of(plan), **digests(network.name, plan)}
    if any(entry[name] != value for name, value in made.items()):
        return None
    return MeasuredFaces(entry["lpips_trunk"], tuple(entry["lpips"]))


def settings_of(plan: Plan) -> dict[str, Any]:
    """A plan as JSON gives it back."""
    settings: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(plan)))
    return settings


def digests(network: str, plan: Plan, *, encoder: Path | None = None, curvature: Path | None = None) -> dict[str, str]:
    """sha256 of encoder and curvature, as given or as beside the network; empty for what the plan does not ask."""
    encoder = (encoder or encoder_path(network)) if plan.encoder_rounds else None
    curvature = (curvature or curvature_path(network)) if plan.curved else None
    return {"encoder": _sha256(encoder), "curvature": _sha256(curvature)}


def _sha256(path: Path | None) -> str:
    return "" if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


@functools.lru_cache(maxsize=4)
def _read(path: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = json.loads(path.read_text())
        sound = table["format"] == FORMAT and isinstance(table["network"], str)
        for entry in table["presets"].values():
            values = entry["lpips"]
            sound &= bool(values) and all(math.isfinite(value) for value in values) and values == sorted(values)
            sound &= {"encoder", "curvature", "settings", "lpips_trunk"} <= entry.keys()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is damaged ({type(error).__name__}: {error}). Install Relatent again."
        ) from error
    if not sound:
        raise CheckpointError(f"{path} is damaged; expected {FORMAT!r} with sorted distances. Install Relatent again.")
    return table
