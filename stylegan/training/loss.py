"""The losses of GAN training: non-saturating logistic loss with lazy R1 (Karras et al. 2020, appendix B)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan.bounds import require_number, require_whole
from stylegan.networks.generator import Generator
from stylegan.training.shard import draw


@dataclass(frozen=True)
class GanLossWeights:
    """Weights of the losses and of their regularisers.

    Attributes:
        r1_gamma: weight of the R1 penalty; see :func:`usual_r1_gamma`.
        r1_interval: steps between evaluations of R1 (lazy regularisation); its weight is multiplied by this.
        mixing_probability: share of samples with style mixing.
        path_length_weight: weight of path length regularisation; 0 for none, 2 as published.
        path_length_interval: steps between its evaluations.
        feature_weight: weight of a second discriminator on features of the frozen backbone; 0 for none. 1 would make
            it count as much as the first.
    """

    r1_gamma: float
    r1_interval: int = 16
    mixing_probability: float = 0.9
    path_length_weight: float = 0.0
    path_length_interval: int = 8
    feature_weight: float = 0.0

    def __post_init__(self) -> None:
        require_number("r1_gamma", self.r1_gamma, 0)
        require_whole("r1_interval", self.r1_interval, 1, 10**6)
        require_number("mixing_probability", self.mixing_probability, 0, 1)
        require_number("path_length_weight", self.path_length_weight, 0)
        require_whole("path_length_interval", self.path_length_interval, 1, 10**6)
        require_number("feature_weight", self.feature_weight, 0)


def usual_r1_gamma(resolution: int, batch: int) -> float:
    """The default weight of R1 (Karras et al. 2020, "Training GANs with limited data", appendix C)."""
    return 0.0002 * resolution**2 / batch


def generator_loss(fake_logits: Tensor) -> Tensor:
    """-log D(G(z)) for each sample, from logits [N, 1]."""
    return F.softplus(-fake_logits)


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))) for each pair, from logits [N, 1]."""
    return F.softplus(-real_logits) + F.softplus(fake_logits)


def r1_penalty(real_logits: Tensor, real_images: Tensor) -> Tensor:
    """Squared gradient of D at real pictures (Mescheder et al. 2018, eq. 9), [N]; times gamma / 2."""
    (gradient,) = torch.autograd.grad(real_logits.sum(), real_images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3))


def mixed_ws(generator: Generator, z: Tensor, c: Tensor | None, probability: float) -> Tensor:
    """ws of z with style mixing: some samples use a second latent from a random layer on.

    This keeps the network from assuming that neighbouring layers have the same w (Karras et al. 2019, sec. 3.1).
    The number of random draws does not depend on their values.
    """
    if generator.num_ws < 2:
        return generator.mapping(z, c)
    other = draw(lambda n: z.new_empty(n, z.shape[1]).normal_(), len(z))
    both = generator.mapping.map(torch.cat([z, other]), None if c is None else torch.cat([c, c]))
    first, second = both.chunk(2)
    count = generator.num_ws
    crossover = draw(lambda n: torch.randint(1, count, (n, 1), device=z.device), len(z))
    mixed = draw(lambda n: torch.rand(n, 1, device=z.device), len(z)) < probability
    crossover = torch.where(mixed, crossover, count)
    keep = torch.arange(count, device=z.device)[None] < crossover
    return torch.where(keep[:, :, None], first[:, None], second[:, None])


def path_lengths(image: Tensor, ws: Tensor) -> Tensor:
    """Path lengths, [N]: the norm of J^T y for white noise y (Karras et al. 2020, eq. 4), averaged over layers.

    The noise is scaled so that the norm does not depend on the resolution.

    Args:
        image: [N, 3, R, R], drawn from ``ws`` with gradients enabled.
        ws: [N, L, w_dim].
    """
    noise = (
        draw(lambda n: image.new_empty(n, *image.shape[1:]).normal_(), len(image))
        / (image.shape[2] * image.shape[3]) ** 0.5
    )
    (gradient,) = torch.autograd.grad((image * noise).sum(), ws, create_graph=True)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()
