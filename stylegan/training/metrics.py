"""Distances between two sets of pictures, computed from features of any network.

With Inception features these are the published FID and KID. Values of other features can only be compared with each
other.
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


def mean_pairwise_distance(images: Tensor) -> float:
    """Root mean squared difference of pairs of pictures of a set [N, 3, R, R]; close to 0 after a mode collapse."""
    flat = images.detach().flatten(1).cpu().double()  # mps has no double
    n = len(flat)
    # The mean of |x - y|^2 over all ordered pairs is twice the variance; n / (n - 1) excludes pairs of equal index.
    return float((2 * flat.var(dim=0, correction=0).mean() * n / (n - 1)).sqrt())


def _checked(features: Tensor) -> Tensor:
    if features.ndim != 2 or len(features) < 2:
        raise ShapeError(f"features have shape {list(features.shape)}; expected [N, D] with N of at least 2.")
    return features.cpu().double()


def _symmetric_root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.t()


def _cubic(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.t() / x.shape[1] + 1) ** 3
