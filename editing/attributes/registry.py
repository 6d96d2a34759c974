"""The attributes that Relatent can score by itself, and a user's own scoring functions by their import path."""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from editing.attributes import scores
from editing.attributes.classifiers import BackboneFeatures, Classifier
from editing.attributes.scores import FacePoints, Score, by_colours, by_points
from relatent.core.alignment import Alignment
from relatent.core.errors import RelatentError, UnknownNameError, UsageError
from weights.embedded import backbone_path

OWN = (
    "For anything else, a hat for example, bring your own: two folders of pictures (--with, --without), "
    "a table of labels (--labels) or a function (--score)."
)

# Pairs that are partly one movement, or one measurement, with the reason: no direction is asked to part them.
SAME_MOVEMENT = {
    ("smile", "mouth_open"): "a laugh opens the lips",
    ("smile", "eyes_open"): "raised cheeks narrow the eyes",
    ("pitch", "eyes_open"): "a nodding head is seen from above, and its lids with it",
    ("skin_tone", "warm_light"): "both read yellowness, b*, of the cheeks",
    ("skin_tone", "brow_darkness"): "brows are measured against the cheeks' lightness",
}


@dataclass(frozen=True)
class Attribute:
    """Something about a face that can be scored.

    Attributes:
        name: what people call it.
        up: what a higher score means.
        score: pictures uint8 [N, R, R, 3] to [N], NaN where unknown.
    """

    name: str
    up: str
    score: Score


def known_attributes(alignment: Alignment) -> dict[str, Attribute]:
    """Everything that can be scored in pictures of this crop, by name.

    Landmarks and features are found once a batch, whatever number of attributes asks.

    Raises:
        CheckpointError: an embedded classifier is damaged.
    """
    points = FacePoints(alignment)
    found = [
        Attribute("smile", "a wider mouth with higher corners", by_points(points, scores.smile)),
        Attribute("mouth_open", "lips further apart", by_points(points, scores.mouth_open)),
        Attribute("eyes_open", "lids further apart", by_points(points, scores.eyes_open)),
        Attribute("yaw", "head turned to the picture's right", by_points(points, scores.yaw)),
        Attribute("pitch", "head nodding down", by_points(points, scores.pitch)),
        Attribute("skin_tone", "lighter skin", by_colours(points, scores.skin_tone)),
        Attribute("brow_darkness", "darker brows and hair", by_colours(points, scores.brow_darkness)),
        Attribute("light_from_right", "light from the picture's right", by_colours(points, scores.light_from_right)),
        Attribute("warm_light", "a warmer, yellower picture", scores.warm_light),
        Attribute("light_background", "a lighter background", by_colours(points, scores.light_background)),
    ]
    return {one.name: one for one in [*found, *_classified(alignment)]}


def moving_together(name: str) -> tuple[str, ...]:
    """The attributes that may move along with one; see :data:`SAME_MOVEMENT`."""
    return tuple(two if name == one else one for one, two in SAME_MOVEMENT if name in (one, two))


def find_attributes(names: list[str], known: dict[str, Attribute]) -> list[Attribute]:
    """The named ones of ``known``; ``-`` and ``_`` are one.

    Raises:
        UnknownNameError: none of that name.
    """
    keys = [name.replace("-", "_").lower() for name in names]
    for name, key in zip(names, keys, strict=True):
        if key not in known:
            raise UnknownNameError("attribute", name, known, OWN)
    return [known[key] for key in keys]


def imported_score(path: str) -> Score:
    """A scoring function by its import path, ``package.module:function``; the current folder is searched, too.

    The module is imported, so its code runs: this is for one's own code.

    Raises:
        UsageError: no such function.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise UsageError(f"--score is {path!r}; expected module:function, for example my_scores:glasses.")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        function = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise UsageError(f"--score {path}: the module cannot be imported ({error!s:.200}). Check the path.") from error
    if not callable(function):
        raise UsageError(f"--score {path}: {module} has no function {name!r}.")

    def score(pictures: np.ndarray) -> np.ndarray:
        try:
            values = np.asarray(function(pictures), np.float64)
        except RelatentError:
            raise
        except Exception as error:  # a user's function may raise anything
            raise UsageError(f"--score {path} failed: {type(error).__name__}: {error!s:.200}") from error
        if values.shape != (len(pictures),):
            raise UsageError(
                f"--score {path} answered {list(values.shape)} for {len(pictures)} pictures; expected one number each."
            )
        return values

    return score


def _classified(alignment: Alignment) -> list[Attribute]:
    """The embedded classifiers, where this crop shows what they read."""
    attributes: list[Attribute] = []
    readers: dict[Alignment, BackboneFeatures] = {}
    for one in [Classifier.load(path) for path in sorted(classifier_folder().glob("*.safetensors"))]:
        if one.alignment not in readers:
            with suppress(UsageError):  # a tighter crop; the other attributes still work
                readers[one.alignment] = BackboneFeatures(alignment, one.alignment)
        if one.alignment in readers:
            attributes.append(Attribute(one.name, one.up, readers[one.alignment].reader(one)))
    return attributes


def classifier_folder() -> Path:
    """Where the classifiers that ship with the backbone lie."""
    return backbone_path().parent / "classifiers"
