"""Learns directions from scored random faces, as InterFaceGAN does (Shen et al. 2020, sec. 3 and 4.2).

Four fifths of the samples are used for fitting, the rest for validation. A hyperplane in W separates the fifths with
the highest and the lowest scores, and its normal is the axis of the attribute. The layers, the length of strength 1 and
the effect on other scores are then measured on pictures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from editing.attributes.scores import Score
from editing.directions.direction import Direction
from editing.directions.effects import Effects, known_mean, strongest_range
from editing.directions.sampling import Progress, Samples
from relatent.core.errors import UnknownNameError, UsageError
from stylegan import network_id
from stylegan.networks.generator import Generator

METHODS = ("svm", "ridge")
EXTREME = 0.2  # share of the faces at each end that the axis is fitted on
HELD_OUT = 0.2  # share of the faces that the fit never sees
FOLDS = 5  # of cross-validation, the usual number
LEAST_LEFT = 0.05  # of an axis beside others, as a share of its length
LEAST_EACH = 10  # faces at each end; five folds need some in every one
STRENGTHS = tuple(10.0**k for k in range(-5, 1))  # C of the support vector machine
ALPHAS = tuple(10.0**k for k in range(7))  # of the ridge


@dataclass(frozen=True)
class Axis:
    """The normal of an attribute's hyperplane in W.

    Attributes:
        normal: float64 [w_dim], of length 1.
        method: "svm" or "ridge".
        parameter: the hyper-parameter that cross-validation chose.
        accuracy: share of the extreme validation faces on the correct side of the hyperplane.
        correlation: of the score with the projection on the axis, over all validation faces.
        without: the attributes it was made orthogonal to.
    """

    normal: np.ndarray
    method: str
    parameter: float
    accuracy: float
    correlation: float
    without: tuple[str, ...] = ()


@dataclass
class Learner:
    """Learns directions from one set of samples; fitted axes are cached.

    Attributes:
        network: the generator of the samples.
        samples: from :func:`sample_scores`.
        scores: the scoring functions, with which effects are measured.
        method: "svm", a linear support vector machine, or "ridge".
    """

    network: Generator
    samples: Samples
    scores: Mapping[str, Score]
    method: str = "svm"
    _axes: dict[str, Axis] = field(default_factory=dict)

    def axis(self, name: str, without: Sequence[str] = ()) -> Axis:
        """The axis of an attribute, orthogonal to those of others.

        Raises:
            UsageError: too few scored faces, or the axis lies in the span of the others.
        """
        if name not in self._axes:
            self._axes[name] = fit_axis(self.samples, name, method=self.method)
        if not without:
            return self._axes[name]
        return orthogonal_axis(self.samples, name, self._axes[name], {one: self.axis(one) for one in without})

    def direction(
        self,
        name: str,
        *,
        up: str = "",
        without: Sequence[str] = (),
        layers: Sequence[int] | None = None,
        progress: Progress | None = None,
    ) -> Direction:
        """The attribute's direction: strength 1 changes its measured score by one standard deviation.

        Args:
            name: an attribute that the samples were scored for.
            up: meaning of a higher score; stored with the direction.
            without: attributes to whose axes the direction is orthogonal (conditional manipulation).
            layers: the layers to change; None for a range chosen by the measured effect.
            progress: called with the number of faces drawn and their total; returning False cancels.

        Raises:
            UsageError: too few faces, or no effect in the pictures.
            Cancelled: ``progress`` returned False.
        """
        axis = self.axis(name, without)
        deviation = self.samples.deviation(name)
        effects = Effects(self.network, self.samples, self.scores, progress)
        step = axis.normal * float((self.samples.w.numpy() @ axis.normal).std())
        shares = None
        if layers is None:
            shares = effects.by_layer(step, name, deviation)
            layers = strongest_range(shares)
        vector, measured = effects.scaled(step, layers, name, deviation)
        facts = facts_of(axis, measured, name, up, self.samples)
        if shares is not None:
            facts["layer_effects"] = ", ".join(f"{share:.2f}" for share in shares)
        everywhere = len(layers) == self.network.num_ws
        return Direction(
            vector=torch.from_numpy(vector).float(),
            name=name,
            network=network_id(self.network),
            layers=None if everywhere else tuple(layers),
            space="w",
            source=f"interfacegan: {axis.method} on the extreme fifths of {len(self.samples.w)} samples, "
            f"seed {self.samples.seed}" + (f", orthogonal to {', '.join(axis.without)}" if axis.without else ""),
            unit=f"one standard deviation of the score ({deviation:.4g}) over {len(self.samples.w)} samples at psi 1",
            facts=facts,
        )


def fit_axis(samples: Samples, name: str, *, method: str = "svm") -> Axis:
    """Fit the hyperplane between the faces of the highest and the lowest scores.

    The hyper-parameter is chosen by cross-validation, without the validation faces.

    Raises:
        UnknownNameError: the method is neither "svm" nor "ridge".
        UsageError: too few scored faces.
    """
    if method not in METHODS:
        raise UnknownNameError("method", method, METHODS)
    samples.deviation(name)
    learned, _ = _split(samples, name)
    score = samples.scores[name]
    low, high = _thresholds(score[learned])
    x = _centred(samples)
    ends = learned[(score[learned] <= low) | (score[learned] >= high)]
    signs = score[ends] >= high
    if min(signs.sum(), (~signs).sum()) < LEAST_EACH:
        raise UsageError(
            f"{name!r} has {int(signs.sum())} high and {int((~signs).sum())} low faces to learn from; expected at "
            f"least {LEAST_EACH} of each. Draw more with --samples."
        )
    model, parameter = _separated(x[ends], signs, score[ends], method)
    normal = np.ravel(model.coef_).astype(np.float64)
    normal = normal / np.linalg.norm(normal)
    return Axis(normal, method, parameter, *_held_out(samples, name, normal))


def orthogonal_axis(samples: Samples, name: str, axis: Axis, others: Mapping[str, Axis]) -> Axis:
    """An axis with its components along others projected out (Shen et al. 2020, sec. 3.2: conditional manipulation).

    Raises:
        UsageError: less than LEAST_LEFT remains.
    """
    basis, _ = np.linalg.qr(np.stack([one.normal for one in others.values()], axis=1))
    left = axis.normal - basis @ (basis.T @ axis.normal)
    length = np.linalg.norm(left)
    if length < LEAST_LEFT:
        raise UsageError(
            f"{name!r} lies along {', '.join(others)} in this network; nothing of it is left beside. Drop one --not."
        )
    normal = left / length
    return Axis(normal, axis.method, axis.parameter, *_held_out(samples, name, normal), tuple(others))


def _held_out(samples: Samples, name: str, normal: np.ndarray) -> tuple[float, float]:
    """Accuracy on the extreme validation faces, and correlation over all validation faces."""
    learned, kept = _split(samples, name)
    score = samples.scores[name]
    low, high = _thresholds(score[learned])
    projected = _centred(samples) @ normal
    middle = (projected[learned][score[learned] >= high].mean() + projected[learned][score[learned] <= low].mean()) / 2
    extreme = kept[(score[kept] <= low) | (score[kept] >= high)]
    accuracy = known_mean((projected[extreme] > middle) == (score[extreme] >= high))
    return accuracy, _correlation(projected[kept], score[kept])


def _split(samples: Samples, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the scored faces for fitting and for validation."""
    order = np.random.default_rng(samples.seed).permutation(len(samples.w))
    known = order[np.isfinite(samples.scores[name][order])]
    count = round(len(known) * (1 - HELD_OUT))
    return known[:count], known[count:]


def _thresholds(score: np.ndarray) -> tuple[float, float]:
    """The scores that bound the lowest and the highest fifth, made distinct for scores with few different values."""
    low, high = (float(value) for value in np.quantile(score, [EXTREME, 1 - EXTREME]))
    if low < high:
        return low, high
    above, below = score[score > low], score[score < low]
    if len(above) and (len(above) >= len(below)):
        return low, float(above.min())
    return float(below.max()) if len(below) else low, high


def _centred(samples: Samples) -> np.ndarray:
    """w minus its mean, divided by its standard deviation over all dimensions; scales the space of InterFaceGAN."""
    w = samples.w.double().numpy()
    w = w - w.mean(axis=0)
    return np.asarray(w / w.std())


def _separated(x: np.ndarray, signs: np.ndarray, score: np.ndarray, method: str) -> tuple[Any, float]:
    """A fitted linear model and its hyper-parameter."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import LinearSVC

    if method == "ridge":
        ridge = RidgeCV(ALPHAS).fit(x, (score - score.mean()) / score.std())
        return ridge, float(ridge.alpha_)
    # The primal problem converges for every C; the dual one warns that it did not.
    search = GridSearchCV(LinearSVC(dual=False), {"C": STRENGTHS}, cv=FOLDS).fit(x, signs)
    return search.best_estimator_, float(search.best_params_["C"])


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if len(a) > 1 and a.std() > 0 and b.std() > 0 else math.nan


def facts_of(axis: Axis, measured: Mapping[str, float], name: str, up: str, samples: Samples) -> dict[str, float | str]:
    """The facts stored with a direction: validation of its axis, and the effects of strength 1."""
    facts: dict[str, float | str] = {"up": up} if up else {}
    facts |= {"held_out_accuracy": axis.accuracy, "held_out_correlation": axis.correlation}
    facts |= {"parameter": axis.parameter, "scored": float(np.isfinite(samples.scores[name]).sum())}
    facts |= {"effect": measured[name], "deviation": samples.deviation(name)}
    facts |= {f"also_{other}": moved for other, moved in measured.items() if other != name}
    return {key: value for key, value in facts.items() if isinstance(value, str) or math.isfinite(value)}
