"""Distances between two sets of pictures, computed from features of any network.

With Inception's features these are the published FID, KID, Inception Score, precision and recall. Values of other
features can only be compared with each other.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from relatent.core.errors import ShapeError

# What each measure is called with the features of either network: published names belong to Inception alone.
NAMES = {
    "inception": {
        "frechet": "FID",
        "kernel": "KID x 1000",
        "score": "Inception Score",
        "precision": "precision (Inception)",
        "recall": "recall (Inception)",
    },
    "backbone": {
        "frechet": "Frechet distance (backbone)",
        "kernel": "kernel distance x 1000 (scaled backbone)",
        "score": "class score (backbone)",
        "precision": "precision (backbone)",
        "recall": "recall (backbone)",
    },
}


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Squared distance of the Gaussians fitted to two sets of features (Heusel et al. 2017, eq. 6).

    Args:
        a: [N, D].
        b: [M, D].

    Returns:
        |mean a - mean b|^2 + tr(A + B - 2 (A B)^(1/2)); 0 for equal sets. The bias of small sets is positive, so
        compare only values with equal N and M.
    """
    a, b = _checked(a), _checked(b)
    gap = (a.mean(dim=0) - b.mean(dim=0)).square().sum()
    dims = a.shape[1]
    cov_a, cov_b = (torch.cov(x.t()).reshape(dims, dims) for x in (a, b))
    # tr (A B)^(1/2) = tr (A^(1/2) B A^(1/2))^(1/2), and the inner matrix is symmetric.
    root = _symmetric_root(cov_a)
    eigenvalues = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0)
    return float(gap + cov_a.trace() + cov_b.trace() - 2 * eigenvalues.sqrt().sum())


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Squared maximum mean discrepancy with a cubic kernel (Binkowski et al. 2018, eqs. 3 and 4).

    Unbiased, so it can be negative for sets of the same distribution. Arguments as for :func:`frechet_distance`.
    """
    a, b = _checked(a), _checked(b)
    within_a, within_b, across = (_cubic(x, y) for x, y in ((a, a), (b, b), (a, b)))
    n, m = len(a), len(b)
    mean_a = (within_a.sum() - within_a.trace()) / (n * (n - 1))
    mean_b = (within_b.sum() - within_b.trace()) / (m * (m - 1))
    return float(mean_a + mean_b - 2 * across.mean())


def inception_score(logits: Tensor, splits: int = 10) -> float:
    """exp of the mean divergence of p(y|x) from p(y) (Salimans et al. 2016, sec. 4), averaged over parts of the set.

    Args:
        logits: [N, C] of a classifier; published scores are Inception's.
        splits: number of parts, at most N. Few pictures in each part lower the score.

    Returns:
        From 1, where all pictures are alike or of no clear class, to C.
    """
    if logits.ndim != 2 or len(logits) < splits:
        raise ShapeError(f"logits have shape {list(logits.shape)}; expected [N, C] with N of at least {splits}.")
    scores = []
    for part in logits.double().tensor_split(splits):
        log_p = part.log_softmax(dim=1)
        log_mean = log_p.logsumexp(dim=0) - math.log(len(part))
        scores.append((log_p.exp() * (log_p - log_mean)).sum(dim=1).mean().exp())
    return float(torch.stack(scores).mean())


def precision_recall(generated: Tensor, real: Tensor, neighbours: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019, eqs. 1 and 2).

    Precision is the share of generated pictures inside the manifold of the real ones, and recall the reverse. A
    manifold is the union of balls around a set's features that reach to the ``neighbours``-th nearest of the same set.

    Args:
        generated: [N, D].
        real: [M, D]; N and M are greater than ``neighbours``. Both grow with the number of pictures.
    """
    generated, real = _checked(generated, neighbours + 1), _checked(real, neighbours + 1)
    return _covered(generated, real, neighbours), _covered(real, generated, neighbours)


def _covered(points: Tensor, centres: Tensor, neighbours: int) -> float:
    """Share of ``points`` in the manifold of ``centres``, a few rows at a time to save memory."""
    # A set's own nearest neighbour is itself, at distance 0.
    radii = torch.cat([_distances(rows, centres).kthvalue(neighbours + 1).values for rows in centres.split(1000)])
    inside = [(_distances(rows, centres) <= radii).any(dim=1) for rows in points.split(1000)]
    return float(torch.cat(inside).double().mean())


def _distances(a: Tensor, b: Tensor) -> Tensor:
    # Not by way of a matrix product, which leaves rounding errors where the distance is 0.
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def mean_pairwise_distance(images: Tensor) -> float:
    """Root mean squared difference of pairs of pictures of a set [N, 3, R, R]; close to 0 after a mode collapse."""
    flat = images.detach().flatten(1).cpu().double()  # mps has no double
    n = len(flat)
    # The mean of |x - y|^2 over all ordered pairs is twice the variance; n / (n - 1) excludes pairs of equal index.
    return float((2 * flat.var(dim=0, correction=0).mean() * n / (n - 1)).sqrt())


def _checked(features: Tensor, least: int = 2) -> Tensor:
    if features.ndim != 2 or len(features) < least:
        raise ShapeError(f"features have shape {list(features.shape)}; expected [N, D] with N of at least {least}.")
    return features.cpu().double()


def _symmetric_root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.t()


def _cubic(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.t() / x.shape[1] + 1) ** 3
