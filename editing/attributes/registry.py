"""The built-in attributes with their scores, and user-defined scoring functions by import path."""

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

# Pairs that share a movement or a measurement, with the reason; directions are not disentangled from one another.
SAME_MOVEMENT = {
    ("smile", "mouth_open"): "a laugh opens the lips",
    ("smile", "eyes_open"): "raised cheeks narrow the eyes",
    ("pitch", "eyes_open"): "a nodding head is seen from above, and its lids with it",
    ("skin_tone", "warm_light"): "both read yellowness, b*, of the cheeks",
    ("skin_tone", "brow_darkness"): "brows are measured against the cheeks' lightness",
}

# What is there or not, so that short steps towards it say little; see editing.directions.disentangling.
CONDITIONS = ("glasses",)


@dataclass(frozen=True)
class Attribute:
    """An attribute of faces with its score.

    Attributes:
        name: for example "smile".
        up: meaning of a higher score.
        score: maps pictures uint8 [N, R, R, 3] to [N], NaN where unknown.
    """

    name: str
    up: str
    score: Score


def known_attributes(alignment: Alignment) -> dict[str, Attribute]:
    """All attributes that can be scored in pictures of this crop, by name.

    Landmarks and features are computed once for each batch and shared by the attributes.

    Raises:
        CheckpointError: an embedded classifier is damaged.
    """
    points = FacePoints(alignment)
    measured = [
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
    return {one.name: one for one in [*measured, *_classified(alignment)]}


def moving_together(name: str) -> tuple[str, ...]:
    """The attributes that may change together with ``name``; see :data:`SAME_MOVEMENT`."""
    return tuple(two if name == one else one for one, two in SAME_MOVEMENT if name in (one, two))


def find_attributes(names: list[str], known: dict[str, Attribute]) -> list[Attribute]:
    """The attributes of ``known`` by name; ``-`` and ``_`` are equivalent.

    Raises:
        UnknownNameError: there is no such attribute.
    """
    keys = [name.replace("-", "_").lower() for name in names]
    for name, key in zip(names, keys, strict=True):
        if key not in known:
            raise UnknownNameError("attribute", name, known, OWN)
    return [known[key] for key in keys]


def imported_score(path: str) -> Score:
    """Import a scoring function by its path, ``package.module:function``; the current folder is searched too.

    Importing executes the module, so use it only for code that you trust.

    Raises:
        UsageError: there is no such function.
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
    """The embedded classifiers whose input crop lies within ``alignment``."""
    attributes: list[Attribute] = []
    readers: dict[Alignment, BackboneFeatures] = {}
    for one in [Classifier.load(path) for path in sorted(classifier_folder().glob("*.safetensors"))]:
        if one.alignment not in readers:
            with suppress(UsageError):  # this crop is too tight for the classifier; other attributes still work
                readers[one.alignment] = BackboneFeatures(alignment, one.alignment)
        if one.alignment in readers:
            attributes.append(Attribute(one.name, one.up, readers[one.alignment].reader(one)))
    return attributes


def classifier_folder() -> Path:
    """The folder of the classifiers that ship with the backbone."""
    return backbone_path().parent / "classifiers"
