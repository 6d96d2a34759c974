"""Linear classifiers and regressors of attributes that landmarks do not show, such as age, on backbone features.

A ridge or logistic regression reads pooled features of the embedded perceptual backbone, which was trained without
labels. The file of a classifier records the crop it was trained on, so that the same crop can be cut from any network's
pictures, and the backbone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from editing.attributes.scores import Score, check_pictures
from relatent.core.alignment import Alignment
from relatent.core.errors import CheckpointError, DatasetError, ShapeError, UsageError
from relatent.core.images import to_tensor
from relatent.face.sampling import sample_square, square_matrix
from stylegan.bounds import check_alignment
from stylegan.formats.checkpoint import parse_dataclass, read_safetensors, write_safetensors
from stylegan.networks.backbone import WIDTHS, Backbone, load_backbone
from weights.embedded import backbone_path

FORMAT = "relatent-classifier-1"
SIDE = 64  # px; the input size, which is that of the training pictures
GRID_LAYER = 3  # this layer is also pooled over each quarter of the picture, for some spatial information
NUM_FEATURES = sum(WIDTHS) + 4 * WIDTHS[GRID_LAYER]
BATCH = 64  # pictures looked at together
LEAST_EACH = 20  # pictures of each class, or in all for regression; needed for validation and cross-validation
HELD_OUT = 0.2  # share that the fit never sees, the usual fifth
FOLDS = 5  # of cross-validation, the usual number
ALPHAS = tuple(10.0**k for k in range(1, 7))  # of the ridge, on standardised features
STRENGTHS = tuple(10.0**k for k in range(-5, 0))  # C of the logistic regression


@dataclass(frozen=True)
class Classifier:
    """A linear classifier or regressor of the backbone's features.

    Attributes:
        name: of the attribute, for example "age".
        up: meaning of a higher score, in words.
        weight: float32 [NUM_FEATURES].
        bias: added to the product. Scores are in the unit of the labels for regression, log odds for two classes.
        alignment: the crop it was trained on.
        backbone: digest of the backbone's weights.
        facts: results on the validation pictures, and the number of training pictures.
    """

    name: str
    up: str
    weight: np.ndarray
    bias: float
    alignment: Alignment
    backbone: str
    facts: dict[str, float | str] = field(default_factory=dict)

    def score(self, features: np.ndarray) -> np.ndarray:
        """Features [N, NUM_FEATURES] to scores, float64 [N]."""
        return np.asarray(features.astype(np.float64) @ self.weight.astype(np.float64) + self.bias)

    def save(self, path: Path) -> None:
        """Write it as one safetensors file.

        Raises:
            OutputError: the file cannot be written.
        """
        crop = json.dumps(dataclasses.asdict(self.alignment))
        text = {"format": FORMAT, "name": self.name, "up": self.up, "backbone": self.backbone, "alignment": crop}
        numbers = {"bias": repr(float(self.bias)), "facts": json.dumps(self.facts)}
        write_safetensors(path, {"weight": torch.from_numpy(self.weight).float()}, {**text, **numbers})

    @classmethod
    def load(cls, path: Path) -> Classifier:
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: missing, damaged, not a classifier, or trained with another backbone.
        """
        tensors, metadata = read_safetensors(path)
        weight = tensors.get("weight")
        if metadata.get("format") != FORMAT or weight is None or weight.shape != (NUM_FEATURES,):
            raise CheckpointError(
                f"{path} is not a classifier. Make one with: python -m editing directions classifier --help"
            )
        backbone = metadata.get("backbone", metadata.get("trunk"))  # the second in files of earlier versions
        if backbone != backbone_digest():
            raise CheckpointError(
                f"{path} was trained on another perceptual backbone, not the embedded one. "
                "Train it again with: python -m editing directions classifier"
            )
        alignment = parse_dataclass(Alignment, metadata.get("alignment", ""), path, check_alignment)
        try:
            bias = float(metadata["bias"])
            facts = {str(k): v if isinstance(v, str) else float(v) for k, v in json.loads(metadata["facts"]).items()}
            return cls(metadata["name"], metadata["up"], weight.numpy(), bias, alignment, backbone, facts)
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"{path} is a damaged classifier ({error!s:.200}). Train it again.") from error


class BackboneFeatures:
    """The features that classifiers read from pictures of one network, cropped as in training.

    The last result is cached, because several classifiers read the same batch.

    Args:
        seen: the crop of the pictures.
        wanted: the crop the classifiers were trained on.

    Raises:
        UsageError: the pictures do not contain all of that crop.
    """

    def __init__(self, seen: Alignment, wanted: Alignment) -> None:
        self.scale = wanted.scale / seen.scale
        self.shift = (wanted.shift - seen.shift) / seen.scale
        if abs(self.shift) + self.scale / 2 > 0.5 + 1e-6:
            raise UsageError(
                f"the classifiers read a crop of scale {wanted.scale:g}, shift {wanted.shift:g}, and the network draws "
                f"only scale {seen.scale:g}, shift {seen.shift:g}. Train classifiers on this network's own crop."
            )
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 [N, R, R, 3] to float32 [N, NUM_FEATURES]."""
        check_pictures(pictures)
        if self._last is None or self._last[0] is not pictures:
            size = pictures.shape[1]
            centre = np.array([0.5, 0.5 + self.shift]) * size - 0.5
            matrix = square_matrix(centre, np.array([self.scale * size / 2, 0.0]), SIDE)
            crops = [sample_square(picture, matrix, SIDE) for picture in pictures]
            self._last = pictures, backbone_features(crops)
        return self._last[1]

    def reader(self, classifier: Classifier) -> Score:
        """A classifier as a score of pictures."""
        return lambda pictures: classifier.score(self(pictures))


@torch.no_grad()
def backbone_features(crops: Iterable[np.ndarray], progress: Callable[[int, int], object] | None = None) -> np.ndarray:
    """Pooled features of uint8 [64, 64, 3] crops, float32 [N, NUM_FEATURES].

    Each of the seven layers is averaged over the picture, and one of them also over its four quarters.

    Raises:
        ShapeError: no crops, or crops of another shape.
    """
    arrays = [np.asarray(crop) for crop in crops]
    if not arrays or any(crop.shape != (SIDE, SIDE, 3) for crop in arrays):
        raise ShapeError(f"{len(arrays)} crops came for classifying; expected some, each [{SIDE}, {SIDE}, 3].")
    backbone, pooled = _backbone(), []
    for first in range(0, len(arrays), BATCH):
        features = backbone(to_tensor(np.stack(arrays[first : first + BATCH])))
        quarters = F.adaptive_avg_pool2d(features[GRID_LAYER], 2).flatten(1)
        pooled.append(torch.cat([*(feature.mean(dim=(2, 3)) for feature in features), quarters], dim=1).numpy())
        if progress:
            progress(min(first + BATCH, len(arrays)), len(arrays))
    return np.concatenate(pooled)


def train_classifier(
    name: str,
    up: str,
    features: np.ndarray,
    values: np.ndarray,
    alignment: Alignment,
    seed: int = 0,
) -> Classifier:
    """Fit a linear classifier; its hyper-parameter is chosen by cross-validation.

    A fifth of the pictures is used for validation, whose results are stored in ``facts``.

    Args:
        name: of the attribute.
        up: meaning of a higher score.
        features: [N, NUM_FEATURES].
        values: [N]; two different values give a logistic regression, more a ridge regression.
        alignment: the crop of the pictures.
        seed: of the split into training and validation pictures.

    Raises:
        DatasetError: too few pictures, or all of one value.
    """
    kinds, counts = np.unique(values, return_counts=True)
    two = len(kinds) == 2
    if len(kinds) < 2 or (counts.min() if two else len(values)) < LEAST_EACH:
        raise DatasetError(
            f"{len(values)} labelled pictures with {len(kinds)} different values came for {name!r}; expected at least "
            f"{LEAST_EACH} of each of two kinds, or {LEAST_EACH} with numbers."
        )
    target = (values == kinds[1]).astype(np.float64) if two else values.astype(np.float64)
    learned, kept = _split(target, two, seed)
    mean, scale = features[learned].mean(axis=0), features[learned].std(axis=0) + 1e-6
    model = _model(two).fit((features[learned] - mean) / scale, target[learned])
    model = getattr(model, "best_estimator_", model)
    weight = np.ravel(model.coef_) / scale
    bias = float(np.ravel(model.intercept_)[0] - weight @ mean)
    facts: dict[str, float | str] = {"pictures": float(len(learned))}
    classifier = Classifier(name, up, weight.astype(np.float32), bias, alignment, backbone_digest(), facts)
    scores = classifier.score(features[kept])
    facts["held_out_correlation"] = float(np.corrcoef(scores, target[kept])[0, 1])
    if two:
        facts["held_out_accuracy"] = float(((scores > 0) == target[kept]).mean())
    else:
        facts["held_out_mean_error"] = float(np.abs(scores - target[kept]).mean())
    return classifier


def backbone_digest() -> str:
    """Twelve hexadecimal digits of the embedded backbone's weights."""
    return _digest(backbone_path())


@cache
def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(load_backbone(path).state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()[:12]


@cache
def _backbone() -> Backbone:
    return load_backbone()


def _split(target: np.ndarray, two: bool, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.model_selection import train_test_split

    rows = np.arange(len(target))
    learned, kept = train_test_split(rows, test_size=HELD_OUT, random_state=seed, stratify=target if two else None)
    return learned, kept


def _model(two: bool) -> Any:
    """An estimator whose ``fit`` also chooses its hyper-parameter: leave-one-out for the ridge, k-fold otherwise."""
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.model_selection import GridSearchCV

    if not two:
        return RidgeCV(ALPHAS)
    grid = {"C": STRENGTHS}
    return GridSearchCV(LogisticRegression(max_iter=2000), grid, cv=FOLDS, scoring="neg_log_loss")
