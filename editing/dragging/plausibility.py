"""How far a drag may change a face: compared with the distances between faces that the network draws at random."""

from __future__ import annotations

import bisect
import weakref

import torch
from torch import Tensor

from inversion.losses.perceptual import load_perceptual
from stylegan.networks.generator import Generator

FACES, FACES_OF_LARGE = 48, 16  # drawn at random, in networks up to LARGE px and above
LARGE = 256
SEED = 11

_kept: weakref.WeakKeyDictionary[Generator, tuple[float, ...]] = weakref.WeakKeyDictionary()


def pair_distances(network: Generator) -> tuple[float, ...]:
    """LPIPS (embedded backbone) of all pairs of some random faces of a network, ascending; kept for each network."""
    if network not in _kept:
        _kept[network] = _measured(network)
    return _kept[network]


class Plausibility:
    """Distances of dragged faces to the one at the start.

    Args:
        network: the generator.
        start: the picture at the start, [1, 3, R, R].
    """

    def __init__(self, network: Generator, start: Tensor) -> None:
        self.perceptual = load_perceptual("embedded", start.device)
        self.pairs = pair_distances(network)
        self.start = self.perceptual.features(start)

    @torch.no_grad()
    def percentile(self, image: Tensor) -> float:
        """The percentage of pairs of different faces that are nearer to each other than this picture to the start.

        A face drawn at random against another one has 50 on average, and a face against itself 0.
        """
        distance = float(self.perceptual.between(self.start, self.perceptual.features(image)))
        return 100 * bisect.bisect_left(self.pairs, distance) / len(self.pairs)


@torch.no_grad()
def _measured(network: Generator) -> tuple[float, ...]:
    perceptual = load_perceptual("embedded", network.w_avg.device)
    count = FACES if network.resolution <= LARGE else FACES_OF_LARGE
    ws = network.sample_w(count, SEED)[:, None].expand(-1, network.num_ws, -1)
    parts = [perceptual.features(network.synthesis(one)) for one in ws.split(1)]
    features = [torch.cat(level) for level in zip(*parts, strict=True)]
    distances: list[float] = []
    for shift in range(1, count):
        first, second = [level[shift:] for level in features], [level[:-shift] for level in features]
        distances += perceptual.between(first, second).tolist()
    return tuple(sorted(distances))
