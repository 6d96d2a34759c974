"""Faces that nobody photographed: drawn by seed, and moved along the axes that the network itself suggests."""

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
COUNT = 8  # components of a kind: further ones hardly change a face
MOST_FACES = 24  # drawn at once


class Components:
    """SeFa's and GANSpace's directions of one network, found when they are first asked for and kept.

    GANSpace's axes and both methods' units come from the project's 10,000 samples of w, which take a third of a second
    with the embedded network.

    Args:
        network: whose directions.
        count: of each kind; fewer if the network's latents have fewer dimensions.
    """

    def __init__(self, network: Generator, count: int = COUNT) -> None:
        self.network, self.count = network, min(count, network.w_dim)
        self._found: dict[tuple[str, str], list[Direction]] = {}
        self._one_at_a_time = threading.Lock()

    def find(self, kind: str, layers: str = "all") -> list[Direction]:
        """The directions of a kind, strongest first.

        Args:
            kind: "sefa" or "ganspace".
            layers: which are moved (and, for SeFa, decomposed), as :func:`editing.layers.layer_numbers` takes it.

        Raises:
            UnknownNameError: another kind, or an unknown name for layers.
            UsageError: layers that the network has not.
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
