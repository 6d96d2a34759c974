"""The Explore tab: random faces by seed, and edits along SeFa and GANSpace directions."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import numpy as np

from editing.directions.direction import Direction
from editing.directions.ganspace import ganspace_directions
from editing.directions.sefa import sefa_directions
from editing.drawing import draw_many
from editing.edits import moved
from editing.layers import layer_numbers
from editing.seeds import seed_inversion
from inversion import Inversion
from relatent.core.errors import UnknownNameError, UsageError
from relatent.core.images import to_pixels
from stylegan import Generator

KINDS = {"sefa": sefa_directions, "ganspace": ganspace_directions}
COUNT = 8  # components of each method; further ones hardly change a face
MOST_FACES = 24  # drawn together


class Components:
    """The SeFa and GANSpace directions of one network, computed on first use and cached.

    They need 10,000 samples of w, which take a third of a second with the embedded network.

    Args:
        network: the generator.
        count: of each method, at most w_dim.
    """

    def __init__(self, network: Generator, count: int = COUNT) -> None:
        self.network, self.count = network, min(count, network.w_dim)
        self._found: dict[tuple[str, str], list[Direction]] = {}
        self._one_at_a_time = threading.Lock()

    def find(self, kind: str, layers: str = "all") -> list[Direction]:
        """The directions of a method, strongest first.

        Args:
            kind: "sefa" or "ganspace".
            layers: that are changed (and, for SeFa, factorised), as for :func:`editing.layers.layer_numbers`.

        Raises:
            UnknownNameError: there is no such method, or no layers of that name.
            UsageError: layers that the network does not have.
        """
        if kind not in KINDS:
            raise UnknownNameError("kind of component", kind, KINDS)
        numbers = None if layers == "all" else layer_numbers(layers, self.network.num_ws)
        with self._one_at_a_time:
            key = kind, str(numbers)
            if key not in self._found:
                self._found[key] = KINDS[kind](self.network, self.count, layers=numbers)
            return self._found[key]


def explored(
    network: Generator, seed: int, psi: float, moves: Iterable[tuple[Direction, float]] = (), c: int | None = None
) -> Inversion:
    """A seed's face, moved along directions.

    Args:
        network: what draws it.
        seed: the face that NVIDIA's tools draw for this number.
        psi: truncation; 1 leaves the face alone, 0 gives the average one.
        moves: directions and strengths; a strength of 0 leaves no trace.
        c: the class, of a network that has some.

    Raises:
        UsageError: what is no seed, a psi that is not finite, or no class where the network has some.
    """
    face = seed_inversion(network, seed, psi, c)
    wanted = [(direction, strength) for direction, strength in moves if strength]
    return moved(face, wanted) if wanted else face


def draw_seeds(network: Generator, seeds: Sequence[int], psi: float, c: int | None = None) -> list[np.ndarray]:
    """The faces of several seeds, uint8 [R, R, 3] each.

    Raises:
        UsageError: more than ``MOST_FACES``, or as :func:`explored`.
    """
    if len(seeds) > MOST_FACES:
        raise UsageError(f"{len(seeds)} faces were asked for; at most {MOST_FACES} are drawn at once.")
    faces = [seed_inversion(network, seed, psi, c) for seed in seeds]
    return [to_pixels(picture)[0] for picture in draw_many(faces, network)]
