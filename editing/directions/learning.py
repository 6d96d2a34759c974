"""Directions learned from scored faces, as InterFaceGAN does (Shen et al. 2020, sec. 3 and 4.2).

Of the sampled faces four fifths are for learning. Their extreme fifths, the faces that show most and least of the
attribute, are separated by a hyperplane in W; its normal is the axis. The rest says how good it is on faces it has
not seen. Then pictures decide: which layers carry the effect, how far strength 1 goes, and what else moves.
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
    """A line through W along which a score rises.

    Attributes:
        normal: float64 [w_dim], of length 1.
        method: "svm" or "ridge".
        parameter: the hyper-parameter that cross-validation chose.
        accuracy: share of kept-back extreme faces on the right side of the plane.
        correlation: of the score with the place along the axis, over all faces kept back.
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
    """Learns directions from one set of samples; axes are fitted once and kept.

    Attributes:
        network: what drew the samples.
        samples: from :func:`sample_scores`.
        scores: the functions that scored them, to measure effects with.
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
            UsageError: too few scored faces, or nothing is left beside the others.
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
        """The attribute's direction: strength 1 moves its score by one standard deviation, measured.

        Args:
            name: an attribute that the samples were scored for.
            up: what a higher score means; kept with the direction.
            without: attributes whose axes must not be moved along.
            layers: the layers to move; None lets the measured effect choose a range.
            progress: counts faces drawn.

        Raises:
            UsageError: nothing could be learned: too few faces, or no effect in the pictures.
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
    """Fit the hyperplane between the faces that score most and least.

    Its hyper-parameter is chosen by cross-validation within the faces for learning.

    Raises:
        UnknownNameError: a method that is none of "svm", "ridge".
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
    """An axis without its shares along others (Shen et al. 2020, sec. 3.2: conditional manipulation).

    Raises:
        UsageError: nothing, or next to nothing, is left.
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
    """Accuracy on the extremes of the faces kept back, and correlation over all of them."""
    learned, kept = _split(samples, name)
    score = samples.scores[name]
    low, high = _thresholds(score[learned])
    places = _centred(samples) @ normal
    middle = (places[learned][score[learned] >= high].mean() + places[learned][score[learned] <= low].mean()) / 2
    extreme = kept[(score[kept] <= low) | (score[kept] >= high)]
    accuracy = known_mean((places[extreme] > middle) == (score[extreme] >= high))
    return accuracy, _correlation(places[kept], score[kept])


def _split(samples: Samples, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the scored faces to learn from, and of those kept back."""
    order = np.random.default_rng(samples.seed).permutation(len(samples.w))
    known = order[np.isfinite(samples.scores[name][order])]
    count = round(len(known) * (1 - HELD_OUT))
    return known[:count], known[count:]


def _thresholds(score: np.ndarray) -> tuple[float, float]:
    """Scores below and above which the extreme fifths lie; of a score that takes few values, its two ends."""
    low, high = (float(value) for value in np.quantile(score, [EXTREME, 1 - EXTREME]))
    if low < high:
        return low, high
    above, below = score[score > low], score[score < low]
    if len(above) and (len(above) >= len(below)):
        return low, float(above.min())
    return float(below.max()) if len(below) else low, high


def _centred(samples: Samples) -> np.ndarray:
    """w around its mean, in units of one deviation over all dimensions: InterFaceGAN's space but for its scale."""
    w = samples.w.double().numpy()
    w = w - w.mean(axis=0)
    return np.asarray(w / w.std())


def _separated(x: np.ndarray, signs: np.ndarray, score: np.ndarray, method: str) -> tuple[Any, float]:
    """A fitted linear model and the hyper-parameter that was chosen for it."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import LinearSVC

    if method == "ridge":
        ridge = RidgeCV(ALPHAS).fit(x, (score - score.mean()) / score.std())
        return ridge, float(ridge.alpha_)
    # The primal problem: solved reliably whatever C is, where the dual one warns that it did not converge.
    search = GridSearchCV(LinearSVC(dual=False), {"C": STRENGTHS}, cv=FOLDS).fit(x, signs)
    return search.best_estimator_, float(search.best_params_["C"])


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if len(a) > 1 and a.std() > 0 and b.std() > 0 else math.nan


def facts_of(axis: Axis, measured: Mapping[str, float], name: str, up: str, samples: Samples) -> dict[str, float | str]:
    """What is kept with a direction: how well its axis does on faces kept back, and what strength 1 moves."""
    facts: dict[str, float | str] = {"up": up} if up else {}
    facts |= {"held_out_accuracy": axis.accuracy, "held_out_correlation": axis.correlation}
    facts |= {"parameter": axis.parameter, "scored": float(np.isfinite(samples.scores[name]).sum())}
    facts |= {"effect": measured[name], "deviation": samples.deviation(name)}
    facts |= {f"also_{other}": moved for other, moved in measured.items() if other != name}
    return {key: value for key, value in facts.items() if isinstance(value, str) or math.isfinite(value)}
