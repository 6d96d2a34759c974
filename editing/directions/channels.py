"""Which style channels change a region of the picture, or an attribute: what there is to name in StyleSpace."""

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

PROBES = 8  # faces that changes of pixels are taken over
SIGNS = 8  # random signs for each; see `strongest_in_region`
CANDIDATES = 3  # for an attribute, so many times as many channels are drawn as are listed
ATTRIBUTE_PROBES = 16  # faces


@dataclass(frozen=True)
class Effect:
    """What one channel does to a region.

    Attributes:
        channel: which.
        inside: root mean square change of the region's pixels for one deviation; pixels are from -1 to 1.
        share: of the whole picture's squared change that falls into the region.
    """

    channel: Channel
    inside: float
    share: float

    @property
    def rank(self) -> float:
        """Strong and local at once."""
        return self.inside * self.share


def strongest_in_region(space: StyleSpace, mask: Tensor, count: int, seed: int = 0) -> list[Effect]:
    """The channels that change a region most and the rest least, best first.

    The change of every pixel for every channel would need a picture a channel. Instead the picture is weighted by
    random signs and derived once: a sum with random signs has as its expected square the sum of squares, so a few
    derivatives give the squared change of all channels at once.

    Args:
        space: the network's styles.
        mask: 1 inside and 0 outside, [R, R].
        count: how many to list.
        seed: of the faces and signs.

    Raises:
        ShapeError: a mask of another size.
        UsageError: it is empty.
    """
    network = space.network
    if mask.shape != (network.resolution, network.resolution):
        raise ShapeError(f"the mask is {list(mask.shape)}; expected [{network.resolution}, {network.resolution}].")
    if not mask.any():
        raise UsageError("the region is empty in this network's pictures; choose another.")
    inside, outside = (_squared_effects(space, part, seed) for part in (mask, 1 - mask))
    pixels = float(mask.sum()) * 3  # channels of a picture
    found = [
        Effect(
            channel,
            (inside[channel] / pixels) ** 0.5,
            inside[channel] / (inside[channel] + outside[channel] + 1e-30),
        )
        for channel in inside
    ]
    return sorted(found, key=lambda effect: -effect.rank)[:count]


def strongest_for_attribute(
    space: StyleSpace,
    samples: Samples,
    scores: Mapping[str, Score],
    name: str,
    count: int,
    progress: Progress | None = None,
) -> list[tuple[Channel, float]]:
    """The channels that move an attribute's score most, and by how many of its standard deviations, strongest first.

    Candidates are the channels whose styles follow the score over the samples. That they go together does not yet mean
    that one moves the other, so the candidates are drawn and scored.

    Args:
        space: the network's styles.
        samples: scored for ``name``.
        scores: holds the score of ``name``.
        name: the attribute.
        count: how many to list.
        progress: counts faces drawn.

    Raises:
        UsageError: the samples' scores cannot be used.
        Cancelled: ``progress`` returned False.
    """
    deviation = samples.deviation(name)
    follows = _correlations(space, samples, samples.scores[name])
    chosen = sorted(follows, key=lambda channel: -abs(follows[channel]))[: CANDIDATES * count]
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
    """How each style goes with a score over the samples, from -1 to 1."""
    known = np.isfinite(score)
    w = samples.w[torch.from_numpy(known)].double()
    target = torch.from_numpy(score[known] - score[known].mean())
    found: dict[Channel, float] = {}
    for number, (affine, _) in enumerate(space.readers):
        styles = (w - w.mean(dim=0)) @ affine_weight(affine).T  # [N, C]
        lengths = styles.norm(dim=0) * target.norm()
        values = (styles.T @ target / lengths.clamp_min(1e-30)).tolist()
        found |= {(number, row): value for row, value in enumerate(values)}
    return found


def _squared_effects(space: StyleSpace, mask: Tensor, seed: int) -> dict[Channel, float]:
    """Mean over faces of the squared change under a mask, by channel, for one deviation of each."""
    network = space.network
    gradients = _gradients(network, mask.to(network.w_avg.device).float(), seed)  # [SIGNS * PROBES, L, w_dim]
    found: dict[Channel, float] = {}
    for layer in range(network.num_ws):
        moves = space.moves(layer)
        squares = (gradients[:, layer] @ moves.steps.T).square().mean(dim=0)  # [channels]
        found |= dict(zip(moves.channels, squares.tolist(), strict=True))
    return found


def _gradients(network: Generator, mask: Tensor, seed: int) -> Tensor:
    """Derivatives of randomly signed pictures under a mask by their ws, float64 [SIGNS * PROBES, L, w_dim]."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        w = network.sample_w(PROBES, seed)
    found = []
    for _ in range(SIGNS):
        ws = w[:, None].repeat(1, network.num_ws, 1).requires_grad_()
        image = network.synthesis(ws)
        signs = torch.randint(2, image.shape, generator=rng).to(image) * 2 - 1
        (gradient,) = torch.autograd.grad((image * signs * mask.sqrt()).sum(), ws)
        found.append(gradient.double().cpu())
    return torch.cat(found)


@torch.no_grad()
def mean_region(network: Generator, name: str, seed: int = 0) -> Tensor:
    """Where a region of :mod:`relatent.face.regions` lies in a network's pictures: its mean over a few faces, [R, R].

    Raises:
        UnknownNameError: a region that is none.
        UsageError: the network draws no faces.
    """
    pictures = next(iter(draw_batches(network, network.sample_w(PROBES, seed))))[1]
    faces = [points for points in FacePoints(network.alignment)(pictures) if np.isfinite(points).all()]
    if not faces:
        raise UsageError("no face was found in this network's pictures; regions need faces. Try --attribute.")
    masks = [region_mask([name], points, network.resolution) for points in faces]
    return torch.from_numpy(np.mean(masks, axis=0))
