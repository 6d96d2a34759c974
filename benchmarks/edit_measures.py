"""Measures edits of inverted faces: scores at every strength of every direction, identity, and changes elsewhere.

Each face is measured and written as one line of JSON, so that an interrupted run can be continued.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from editing.attributes.scores import Score
from editing.directions.direction import Direction
from editing.directions.sampling import score_pictures
from editing.edits import moved
from inversion.inversion import Inversion
from inversion.losses.loss import Target
from inversion.losses.perceptual import load_perceptual
from relatent.core.images import to_pixels
from relatent.face import identity_distance
from relatent.face.regions import drawn_landmarks, region_mask
from stylegan.networks.generator import Generator

STRENGTHS = (-3, -2, -1, 0, 1, 2, 3)
IDENTITY_AT = (1, 2)  # strengths at which the identity is compared
OUTSIDE_AT = 2  # strength at which the rest of the picture is compared
STEP_BACK = 0.1  # deviations by which a score may fall from one strength to the next and still count as rising
LEAST_SPEARMAN = 0.9
# Where an edit is meant to show; all that are not named here change the face, and warm light all of the picture.
REGIONS = {"smile": "mouth", "mouth_open": "mouth", "eyes_open": "eyes", "brow_darkness": "brows"}
EVERYWHERE = ("warm_light", "light_background")


@dataclass(frozen=True)
class FaceMoves:
    """One face, every direction.

    Attributes:
        face: its name.
        scores: [directions][strengths][scores], in each score's deviations; None where unknown. The directions' own
            scores come first, in their order.
        identity: [directions][IDENTITY_AT], dlib's distance to the unedited inversion; None where no face is found.
        outside: [directions], perceptual distance to it outside the direction's region; None where there is no outside.
    """

    face: str
    scores: list[list[list[float | None]]]
    identity: list[list[float | None]]
    outside: list[float | None]


def measure_face(
    name: str,
    inversion: Inversion,
    network: Generator,
    directions: Sequence[Direction],
    scores: Mapping[str, Score],
    deviations: Mapping[str, float],
) -> FaceMoves:
    """Draw and score one inversion along every direction; ``scores`` names the directions' own first."""
    before = inversion.tensor(network)
    start = to_pixels(before)[0]
    rows, people, rest = [], [], []
    for direction in directions:
        drawn = {s: moved(inversion, [(direction, s)]).tensor(network) if s else before for s in STRENGTHS}
        pictures = np.concatenate([to_pixels(drawn[s]) for s in STRENGTHS])
        scored = score_pictures(pictures, scores)
        values = np.stack([scored[one] / deviations[one] for one in scores], axis=1)
        rows.append([[_known(value) for value in row] for row in values])
        at = [pictures[STRENGTHS.index(s)] for s in IDENTITY_AT]
        people.append([_known(identity_distance(start, one, alignment=network.alignment)) for one in at])
        rest.append(outside_distance(direction.name, before, drawn[OUTSIDE_AT], network))
    return FaceMoves(name, rows, people, rest)


def outside_distance(name: str, before: torch.Tensor, after: torch.Tensor, network: Generator) -> float | None:
    """Perceptual distance of two drawn faces [1, 3, R, R] outside the region that a direction is meant to change."""
    if name in EVERYWHERE:
        return None
    region, size = REGIONS.get(name, "face"), network.resolution
    points = [drawn_landmarks(to_pixels(one)[0], network.alignment) for one in (before, after)]
    inside = np.maximum(*(region_mask([region], one, size) for one in points))
    mask = torch.from_numpy(1 - inside)[None, None]
    with torch.no_grad():
        return float(Target(before, load_perceptual(), mask).perceptual_distance(after))


def read_lines(path: Path) -> dict[str, FaceMoves]:
    """Faces that have been measured, by name."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {one.face: one for one in (FaceMoves(**json.loads(line)) for line in lines)}


def add_line(path: Path, face: FaceMoves) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(asdict(face)) + "\n")


def follows(scores: np.ndarray) -> bool:
    """Whether a score [strengths] rises with the strength: hardly ever back, and in the right order overall."""
    if not np.isfinite(scores).all():
        return False
    ranks = scores.argsort().argsort()
    spearman = np.corrcoef(ranks, np.arange(len(scores)))[0, 1]
    return bool((np.diff(scores) >= -STEP_BACK).all() and spearman >= LEAST_SPEARMAN)


def leak_matrix(scores: np.ndarray, strength: int = 2) -> np.ndarray:
    """What else moves, as a share of what was meant to; [D, A], 1 on the diagonal.

    The larger one of the changes from 0 to ``strength`` and from 0 to ``-strength``.

    Args:
        scores: [faces, D, strengths, A], of direction i the score of attribute j, the directions' own attributes
            first; NaN where unknown.
        strength: at which.
    """
    middle = scores[:, :, STRENGTHS.index(0)]
    sides = []
    for side in (strength, -strength):
        shift = np.nanmean(scores[:, :, STRENGTHS.index(side)] - middle, axis=0)  # [D, A]
        sides.append(shift / np.diag(shift)[:, None])
    return np.where(np.abs(sides[0]) >= np.abs(sides[1]), *sides)


def _known(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 4)
