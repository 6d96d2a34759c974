"""The percentile of a photo's LPIPS among validation faces.

An embedded network comes with ``percentiles.json``, written by ``python -m benchmarks.percentiles``: for each preset,
the LPIPS of faces that no network was trained on. It is valid only for the network, encoder, preconditioner, settings
and backbone recorded in it.
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
from weights.embedded import encoder_path, percentiles_path, preconditioner_path

FORMAT = "relatent-percentiles-3"


@dataclass(frozen=True)
class LpipsPercentile:
    """The percentile of one face's LPIPS.

    Attributes:
        below: number of validation faces whose LPIPS is smaller.
        faces: number of validation faces.
    """

    below: int
    faces: int

    @property
    def value(self) -> int:
        """0 to 100; smaller is better."""
        return round(100 * self.below / self.faces)

    def __str__(self) -> str:
        return f"LPIPS percentile {self.value} of {self.faces} validation faces"


@dataclass(frozen=True)
class MeasuredFaces:
    """The LPIPS of the validation faces, inverted with one preset.

    Attributes:
        backbone: of the LPIPS.
        lpips: of each face, ascending.
    """

    backbone: str
    lpips: tuple[float, ...]

    def percentile(self, lpips: float, backbone: str) -> LpipsPercentile | None:
        """The percentile of an LPIPS value; None if it was measured with another backbone."""
        if backbone != self.backbone:
            return None
        return LpipsPercentile(bisect.bisect_left(self.lpips, lpips), len(self.lpips))


def measured_faces(network: Generator, preset: str, plan: Plan) -> MeasuredFaces | None:
    """The validation faces of a preset; None if none were measured with this network, plan, encoder and preconditioner.

    Raises:
        CheckpointError: the file beside the network is damaged.
    """
    path = percentiles_path(network.name)
    if path is None:
        return None
    table = _read(path)
    entry = table["presets"].get(preset)
    if entry is None or not same_network(table["network"], network_id(network)):
        return None
    current = {"settings": settings_of(plan), **digests(network.name, plan)}
    if any(entry[name] != value for name, value in current.items()):
        return None
    return MeasuredFaces(entry["lpips_trunk"], tuple(entry["lpips"]))


def settings_of(plan: Plan) -> dict[str, Any]:
    """A plan as plain JSON values, comparable with what was read from a file."""
    settings: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(plan)))
    return settings


def digests(
    network: str, plan: Plan, *, encoder: Path | None = None, preconditioner: Path | None = None
) -> dict[str, str]:
    """sha256 of encoder and preconditioner, by default the embedded ones; empty if the plan does not use them."""
    encoder = (encoder or encoder_path(network)) if plan.encoder_iterations else None
    preconditioner = (preconditioner or preconditioner_path(network)) if plan.preconditioned else None
    return {"encoder": _sha256(encoder), "preconditioner": _sha256(preconditioner)}


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
            sound &= {"encoder", "preconditioner", "settings", "lpips_trunk"} <= entry.keys()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is damaged ({type(error).__name__}: {error}). Install Relatent again."
        ) from error
    if not sound:
        raise CheckpointError(f"{path} is damaged; expected {FORMAT!r} with sorted distances. Install Relatent again.")
    return table
