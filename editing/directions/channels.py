"""Finds the StyleSpace channels that change a region of the picture, or an attribute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from editing.attributes.scores import FacePoints, Score
from editing.directions.effects import Effects
from editing.directions.sampling import Progress, Samples, draw_batches
from editing.directions.sefa import affine_weight
from editing.directions.stylespace import Channel, StyleSpace
from relatent.core.errors import ShapeError, UsageError
from relatent.face.regions import region_mask
from stylegan.networks.generator import Generator

PROBES = 8  # faces over which changes of pixels are averaged
SIGNS = 8  # random sign patterns for each; see `strongest_in_region`
CANDIDATES = 3  # channels that are drawn and scored for an attribute, as a multiple of those listed
ATTRIBUTE_PROBES = 16  # faces


@dataclass(frozen=True)
class Effect:
    """The effect of one channel on a region.

    Attributes:
        channel: the channel.
        inside: root mean square change of the region's pixels per standard deviation of the channel; pixels are in
            [-1, 1].
        share: share of the picture's squared change that lies in the region, 0 to 1.
    """

    channel: Channel
    inside: float
    share: float

    @property
    def rank(self) -> float:
        """Large for channels that are both strong and local."""
        return self.inside * self.share


def strongest_in_region(space: StyleSpace, mask: Tensor, count: int, seed: int = 0) -> list[Effect]:
    """The channels that change a region most and the rest of the picture least, best first.

    Finite differences would need a picture for each channel. Instead, the pixels are summed with random signs and
    differentiated once. The expected square of such a sum is the sum of squares, so a few gradients estimate the
    squared change for all channels at once.

    Args:
        space: the network's styles.
        mask: 1 inside and 0 outside, [R, R].
        count: number of channels to list.
        seed: of the faces and signs.

    Raises:
        ShapeError: the mask has another size.
        UsageError: the mask is empty.
    """
    network = space.network
    if mask.shape != (network.resolution, network.resolution):
        raise ShapeError(f"the mask is {list(mask.shape)}; expected [{network.resolution}, {network.resolution}].")
    if not mask.any():
        raise UsageError("the region is empty in this network's pictures; choose another.")
    inside, outside = (_squared_effects(space, part, seed) for part in (mask, 1 - mask))
    pixels = float(mask.sum()) * 3  # channels of a picture
    effects = [
        Effect(
            channel,
            (inside[channel] / pixels) ** 0.5,
            inside[channel] / (inside[channel] + outside[channel] + 1e-30),
        )
        for channel in inside
    ]
    return sorted(effects, key=lambda effect: -effect.rank)[:count]


def strongest_for_attribute(
    space: StyleSpace,
    samples: Samples,
    scores: Mapping[str, Score],
    name: str,
    count: int,
    progress: Progress | None = None,
) -> list[tuple[Channel, float]]:
    """The channels that change an attribute's score most, with the change in its standard deviations, strongest first.

    Candidates are the channels whose styles correlate with the score over the samples. Correlation does not imply an
    effect, so the candidates are then moved, drawn and scored.

    Args:
        space: the network's styles.
        samples: with scores for ``name``.
        scores: scoring functions; contains ``name``.
        name: the attribute.
        count: number of channels to list.
        progress: called with the number of faces drawn and their total; returning False cancels.

    Raises:
        UsageError: too few faces could be scored, or all scores are equal.
        Cancelled: ``progress`` returned False.
    """
    deviation = samples.deviation(name)
    correlations = _correlations(space, samples, samples.scores[name])
    chosen = sorted(correlations, key=lambda channel: -abs(correlations[channel]))[: CANDIDATES * count]
    effects = Effects(space.network, samples, scores, progress, planned=2 * ATTRIBUTE_PROBES * len(chosen))
    moved: dict[Channel, float] = {}
    for layer in range(space.network.num_ws):
        moves = space.moves(layer)
        for channel, step in zip(moves.channels, moves.steps.numpy(), strict=True):
            if channel in chosen:
                ws = effects.ws[:ATTRIBUTE_PROBES]
                moved[channel] = effects.moved(ws, step, [layer], {name: scores[name]})[name] / deviation
    known = [(channel, effect) for channel, effect in moved.items() if np.isfinite(effect)]
    return sorted(known, key=lambda pair: -abs(pair[1]))[:count]


def _correlations(space: StyleSpace, samples: Samples, score: np.ndarray) -> dict[Channel, float]:
    """The correlation of each style with a score over the samples, -1 to 1."""
    known = np.isfinite(score)
    w = samples.w[torch.from_numpy(known)].double()
    target = torch.from_numpy(score[known] - score[known].mean())
    correlations: dict[Channel, float] = {}
    for number, (affine, _) in enumerate(space.readers):
        styles = (w - w.mean(dim=0)) @ affine_weight(affine).T  # [N, C]
        lengths = styles.norm(dim=0) * target.norm()
        values = (styles.T @ target / lengths.clamp_min(1e-30)).tolist()
        correlations |= {(number, row): value for row, value in enumerate(values)}
    return correlations


def _squared_effects(space: StyleSpace, mask: Tensor, seed: int) -> dict[Channel, float]:
    """Squared change of the pixels under a mask per standard deviation of each channel, averaged over faces."""
    network = space.network
    gradients = _gradients(network, mask.to(network.w_avg.device).float(), seed)  # [SIGNS * PROBES, L, w_dim]
    effects: dict[Channel, float] = {}
    for layer in range(network.num_ws):
        moves = space.moves(layer)
        squares = (gradients[:, layer] @ moves.steps.T).square().mean(dim=0)  # [channels]
        effects |= dict(zip(moves.channels, squares.tolist(), strict=True))
    return effects


def _gradients(network: Generator, mask: Tensor, seed: int) -> Tensor:
    """Gradients with respect to ws of randomly signed sums of masked pixels, float64 [SIGNS * PROBES, L, w_dim]."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        w = network.sample_w(PROBES, seed)
    gradients = []
    for _ in range(SIGNS):
        ws = w[:, None].repeat(1, network.num_ws, 1).requires_grad_()
        image = network.synthesis(ws)
        signs = torch.randint(2, image.shape, generator=rng).to(image) * 2 - 1
        (gradient,) = torch.autograd.grad((image * signs * mask.sqrt()).sum(), ws)
        gradients.append(gradient.cpu().double())
    return torch.cat(gradients)


@torch.no_grad()
def mean_region(network: Generator, name: str, seed: int = 0) -> Tensor:
    """The mask of a region of :mod:`relatent.face.regions`, averaged over a few faces of the network, [R, R].

    Raises:
        UnknownNameError: there is no such region.
        UsageError: no face was found in the network's pictures.
    """
    pictures = next(iter(draw_batches(network, network.sample_w(PROBES, seed))))[1]
    faces = [points for points in FacePoints(network.alignment)(pictures) if np.isfinite(points).all()]
    if not faces:
        raise UsageError("no face was found in this network's pictures; regions need faces. Try --attribute.")
    masks = [region_mask([name], points, network.resolution) for points in faces]
    return torch.from_numpy(np.mean(masks, axis=0))
