"""Classes of pictures by their features, and how well attributes are separated by a plane in latent space."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from relatent.core.errors import DatasetError, MissingPackageError

CLUSTERS = 10  # classes of data without labels
SEEDS = 2**32  # scikit-learn takes those from 0 to below this
CONFIDENT = 0.5  # share of the pictures, those surest of the attribute, that are used
FOLDS = 5  # for predictions on latents that a plane was not fitted to


class PictureClasses:
    """A linear classifier of real pictures' features: their labels, or clusters where there are none.

    Takes the place of Inception's 1,000 classes, and of CelebA's 40 attributes.

    Args:
        features: of real pictures, [N, D].
        labels: int64 [N], or None: then :data:`CLUSTERS` clusters by k-means are the classes, or as many as differ.
        seed: of k-means; any whole number.

    Attributes:
        kind: what the classes are, in words.

    Raises:
        MissingPackageError: scikit-learn is not installed.
        DatasetError: fewer than two classes, too few pictures for clusters, or all of them alike.
    """

    def __init__(self, features: Tensor, labels: Tensor | None, seed: int = 0) -> None:
        try:
            from sklearn.cluster import KMeans
            from sklearn.linear_model import LogisticRegression
            from sklearn.pipeline import make_pipeline
            from sklearn.preprocessing import StandardScaler
        except ImportError:
            raise MissingPackageError("scikit-learn", "", "a classifier of pictures") from None
        values = features.double().numpy()
        if labels is None:
            if len(values) < 2 * CLUSTERS:
                raise DatasetError(f"{len(values)} pictures are too few for {CLUSTERS} clusters. Use more.")
            clusters = min(CLUSTERS, len(np.unique(values, axis=0)))
            if clusters < 2:
                raise DatasetError(
                    f"the features of all {len(values)} real pictures are the same; expected pictures that differ. "
                    "Check the data for copies of one picture."
                )
            scaled = StandardScaler().fit_transform(values)
            targets = KMeans(clusters, n_init=3, random_state=seed % SEEDS).fit_predict(scaled)
            self.kind = f"{clusters} clusters of the real pictures' features"
        else:
            targets = labels.numpy()
            self.kind = f"the data's {len(np.unique(targets))} classes"
        if len(np.unique(targets)) < 2:
            raise DatasetError("the data have one class only; expected two or more, or no classes at all.")
        self._model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300)).fit(values, targets)

    def logits(self, features: Tensor) -> Tensor:
        """Logits [N, C] of features [N, D]."""
        found = torch.from_numpy(self._model.decision_function(features.double().numpy()))
        return torch.stack([-found / 2, found / 2], dim=1) if found.ndim == 1 else found


def attribute_logits(logits: Tensor) -> Tensor:
    """Logits of classes [N, C] to one for each attribute "is of class k" against all other classes, [N, C]."""
    log_p = logits.double().log_softmax(dim=1)
    count = log_p.shape[1]
    others = [log_p[:, [i for i in range(count) if i != k]].logsumexp(dim=1) for k in range(count)]
    return log_p - torch.stack(others, dim=1)


def separability(latents: Tensor, attributes: Tensor) -> float:
    """exp of the summed conditional entropies H(Y | X) over attributes (Karras et al. 2019, sec. 4.2).

    Y is whether a picture has the attribute, and X on which side of the best plane its latent lies. Only the half of
    the pictures that the classifier is surest of is used. Unlike in the paper, X is predicted for latents that the
    plane was not fitted to: of few latents in many dimensions, any attribute can be separated.

    Args:
        latents: z or w, [N, D].
        attributes: logits of K attributes, [N, K].

    Returns:
        1 if a plane separates each attribute completely; larger values are worse.

    Raises:
        MissingPackageError: scikit-learn is not installed.
    """
    return math.exp(sum(_entropy_given_side(latents, attributes[:, k]) for k in range(attributes.shape[1])))


def conditional_entropy(y: np.ndarray, x: np.ndarray) -> float:
    """H(Y | X) in nats, of two boolean arrays [N]."""
    total = 0.0
    for side in (False, True):
        part = y[x == side]
        if len(part):
            p = float(part.mean())
            entropy = -sum(q * math.log(q) for q in (p, 1 - p) if q > 0)
            total += len(part) / len(y) * entropy
    return total


def _entropy_given_side(latents: Tensor, logits: Tensor) -> float:
    try:
        from sklearn.model_selection import StratifiedKFold, cross_val_predict
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import LinearSVC
    except ImportError:
        raise MissingPackageError("scikit-learn", "", "measuring separability") from None
    surest = logits.abs().argsort(descending=True, stable=True)[: max(2, round(len(logits) * CONFIDENT))]
    x, y = latents[surest].double().numpy(), (logits[surest] > 0).numpy()
    folds = min(FOLDS, int(y.sum()), int((~y).sum()))
    if folds < 2:
        return conditional_entropy(y, np.zeros_like(y))  # hardly anything has the attribute, or lacks it
    plane = make_pipeline(StandardScaler(), LinearSVC(C=0.01, dual="auto", max_iter=5000))
    return conditional_entropy(y, cross_val_predict(plane, x, y, cv=StratifiedKFold(folds)))
