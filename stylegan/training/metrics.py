"""Distances between two sets of pictures, from the features of some trained network.

Neither knows where the features come from: Inception features give the published FID and KID, other
features give other numbers that can only be compared among themselves.
"""

from __future__ import annotations

import torch
from torch import Tensor

from relatent.core.errors import ShapeError


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Squared distance of the Gaussians fitted to two sets of features (Heusel et al. 2017, eq. 6).

    Args:
        a: [N, D].
        b: [M, D].

    Returns:
        |mean a - mean b|^2 + tr(A + B - 2 (A B)^(1/2)); 0 for equal sets. Small sets are biased
        upwards, so compare only figures of equal N and M.
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
    """Squared maximum mean discrepancy under a cubic kernel (Binkowski et al. 2018, eqs. 3 and 4).

    Unbiased, so it may fall below 0 for sets of one distribution. Arguments as in :func:`frechet_distance`.
    """
    a, b = _checked(a), _checked(b)
    within_a, within_b, across = (_cubic(x, y) for x, y in ((a, a), (b, b), (a, b)))
    n, m = len(a), len(b)
    mean_a = (within_a.sum() - within_a.trace()) / (n * (n - 1))
    mean_b = (within_b.sum() - within_b.trace()) / (m * (m - 1))
    return float(mean_a + mean_b - 2 * across.mean())


def mean_pairwise_distance(images: Tensor) -> float:
    """Root mean squared difference of two different pictures of a set [N, 3, R, R]; near 0 is collapse."""
    flat = images.detach().flatten(1).double()
    n = len(flat)
    # The mean over ordered pairs of |x - y|^2 is twice the variance, with n / (n - 1) for pairs of two.
    return float((2 * flat.var(dim=0, correction=0).mean() * n / (n - 1)).sqrt())


def _checked(features: Tensor) -> Tensor:
    if features.ndim != 2 or len(features) < 2:
        raise ShapeError(f"features have shape {list(features.shape)}; expected [N, D] with N of at least 2.")
    return features.double()


def _symmetric_root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.t()


def _cubic(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.t() / x.shape[1] + 1) ** 3
