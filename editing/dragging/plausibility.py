"""How far a drag may change a face: compared with the distances between faces that the network draws at random.

The yardstick is the median LPIPS between different faces. Measured on the embedded network (benchmarks/drag_sweep.py),
dragged faces look like faces, and dlib takes them for the same person, up to about 30 % of it.
"""

from __future__ import annotations

import statistics
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from inversion.losses.perceptual import load_perceptual
from stylegan.networks.generator import Generator

FACES, FACES_OF_LARGE = 48, 16  # drawn at random, in networks up to LARGE px and above
LARGE = 256
SEED = 11
SMALL = 1e-6  # for networks that draw one picture alone

Turn = Callable[[], AbstractContextManager[None]]

_kept: weakref.WeakKeyDictionary[Generator, float] = weakref.WeakKeyDictionary()


def usual_distance(network: Generator, turn: Turn = nullcontext) -> float:
    """The median LPIPS (embedded backbone) over all pairs of some random faces of a network; kept for each network.

    Args:
        network: the generator.
        turn: makes a context for each use of the network, for callers who share it with others.
    """
    if network not in _kept:
        _kept[network] = _measured(network, turn)
    return _kept[network]


class Plausibility:
    """Distances of dragged faces to the one at the start.

    Args:
        network: the generator.
        start: the picture at the start, [1, 3, R, R].
    """

    def __init__(self, network: Generator, start: Tensor) -> None:
        self.perceptual = load_perceptual("embedded", start.device)
        self.usual = usual_distance(network)
        self.start = self.perceptual.features(start)

    @torch.no_grad()
    def change(self, image: Tensor) -> float:
        """LPIPS between a picture and the start, in per cent of the median between different faces."""
        return 100 * float(self.perceptual.between(self.start, self.perceptual.features(image))) / self.usual

    def residual(self, image: Tensor) -> Tensor:
        """A vector whose squared length is the LPIPS between a picture and the start; differentiable."""
        levels = zip(self.perceptual.features(image), self.start, strict=True)
        return torch.cat([((now - then) / now[0, 0].numel() ** 0.5).flatten() for now, then in levels])


@torch.no_grad()
def _measured(network: Generator, turn: Turn) -> float:
    perceptual = load_perceptual("embedded", network.w_avg.device)
    count = FACES if network.resolution <= LARGE else FACES_OF_LARGE
    parts = []
    with turn():
        ws = network.sample_w(count, SEED)[:, None].expand(-1, network.num_ws, -1)
    for one in ws.split(1):
        with turn():
            parts.append(perceptual.features(network.synthesis(one)))
    features = [torch.cat(level) for level in zip(*parts, strict=True)]
    distances: list[float] = []
    for shift in range(1, count):
        first, second = [level[shift:] for level in features], [level[:-shift] for level in features]
        distances += perceptual.between(first, second).tolist()
    return max(statistics.median(distances), SMALL)
