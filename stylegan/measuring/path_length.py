"""Perceptual path length: how much the picture changes along a path between two latents (Karras et al. 2019, sec. 4.1).

For t in [0, 1] and a small epsilon, d(G(path(t)), G(path(t + epsilon))) / epsilon^2, averaged over pairs of latents.
d is the perceptual distance of the embedded backbone, so values are not comparable with published ones, which use VGG.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from relatent.core.errors import ShapeError
from stylegan.networks.backbone import Backbone
from stylegan.networks.generator import Generator

EPSILON = 1e-4
KEPT = (
    0.01,
    0.99,
)  # quantiles between which lengths are averaged, as NVIDIA's code does: outliers are many times longer
CHUNK = 16  # pairs drawn together

Between = Callable[[Tensor, Tensor, Tensor], Tensor]


@torch.no_grad()
def path_length(
    generator: Generator, backbone: Backbone, *, space: str, full: bool, pairs: int, seed: int, epsilon: float = EPSILON
) -> float:
    """Mean perceptual path length of a generator, noise maps constant.

    Args:
        generator: the generator.
        backbone: on the generator's device; measures the distance.
        space: "z" (spherical interpolation) or "w" (linear).
        full: t is drawn from [0, 1]; else it is 0, so that only the paths' ends count.
        pairs: number of pairs of latents.
        seed: of latents, classes and t.
        epsilon: the step along the path.
    """
    rng = torch.Generator().manual_seed(seed)
    device = generator.w_avg.device
    ends = torch.randn(2, pairs, generator.z_dim, generator=rng).to(device)
    t = torch.rand(pairs, generator=rng).to(device) * full
    c = None
    if generator.c_dim and generator.chosen_class is None:
        chosen = torch.randint(generator.c_dim, (pairs,), generator=rng)
        c = nn.functional.one_hot(chosen, generator.c_dim).float().to(device)

    def lengths(rows: slice) -> Tensor:
        classes = None if c is None else c[rows]

        def mapped(z: Tensor) -> Tensor:
            return generator.mapping.map(z, classes)

        def draw(points: Tensor) -> Tensor:
            w = mapped(points) if space == "z" else points
            return generator.synthesis(w[:, None].expand(-1, generator.num_ws, -1)).clamp(-1, 1)

        a, b = ends[0, rows], ends[1, rows]
        if space == "w":
            a, b = mapped(a), mapped(b)
        return step_lengths(a, b, t[rows], slerp if space == "z" else lerp, draw, backbone.distance, epsilon)

    parts = [lengths(slice(first, first + CHUNK)).cpu() for first in range(0, pairs, CHUNK)]
    return trimmed_mean(torch.cat(parts).double())  # on the CPU: mps has no double


def step_lengths(
    a: Tensor,
    b: Tensor,
    t: Tensor,
    between: Between,
    draw: Callable[[Tensor], Tensor],
    distance: Callable[[Tensor, Tensor], Tensor],
    epsilon: float,
) -> Tensor:
    """Distance of the pictures at t and t + epsilon on the paths from a to b, over epsilon squared, [N].

    Args:
        a: latents [N, D].
        b: latents [N, D].
        t: positions, [N].
        between: the interpolation, :func:`lerp` or :func:`slerp`.
        draw: latents [N, D] to pictures.
        distance: of two batches of pictures, [N].
        epsilon: the step.
    """
    return distance(draw(between(a, b, t)), draw(between(a, b, t + epsilon))) / epsilon**2


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Linear interpolation of [N, D] at t [N]."""
    return a + (b - a) * t[:, None]


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Interpolation of the directions of [N, D] along great circles at t [N]; results have length sqrt(D).

    That is the length of z after the mapping network's normalisation, and close to that of a random z.
    """
    a, b = nn.functional.normalize(a, dim=1), nn.functional.normalize(b, dim=1)
    cosine = (a * b).sum(dim=1, keepdim=True)
    across = nn.functional.normalize(b - cosine * a, dim=1)
    angle = t[:, None] * cosine.clamp(-1, 1).acos()
    return (a * angle.cos() + across * angle.sin()) * a.shape[1] ** 0.5


def trimmed_mean(values: Tensor) -> float:
    """Mean of the values between the quantiles KEPT, which are rounded outwards to values, as NVIDIA's metrics do."""
    if not len(values):
        raise ShapeError("no path lengths came; expected one or more.")
    low = torch.quantile(values, KEPT[0], interpolation="lower")
    high = torch.quantile(values, KEPT[1], interpolation="higher")  # of few values, all are kept
    return float(values[(values >= low) & (values <= high)].mean())
