"""What all visitors of a page share: the network with everything that belongs to it, and the queue before it.

Tabs find here what they work with::

    studio.network                     the generator; frozen, in evaluation mode
    studio.directions                  its directions by name
    studio.settings.limits             what an upload may be (relatent/web/uploads.py)
    studio.network_lock.quick()        hold it around every short use of the network in a handler
    studio.queue.start(task, session)  everything longer (relatent/web/queue.py)
    studio.draw(inversion)             one picture, uint8 [R, R, 3]

Nothing in it belongs to one visitor.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from editing.directions.direction import Direction, direction_files, find_direction
from inversion import Inversion
from inversion.losses.perceptual import load_perceptual
from inversion.pipeline import open_network
from inversion.presets import PRESETS
from inversion.stages import encoder_for
from relatent.core.errors import RelatentError
from relatent.core.images import to_pixels
from relatent.web.network_lock import NetworkLock
from relatent.web.queue import JobQueue
from relatent.web.session import Sessions
from relatent.web.settings import Settings
from stylegan import Generator
from stylegan.formats.loading import is_published
from weights.embedded import network_names


@dataclass(frozen=True)
class Studio:
    """A loaded network, ready for many visitors; see the module's docstring.

    Attributes:
        settings: what whoever runs the page decided.
        network: the generator.
        directions: the network's directions by name, those that ship and those of ``settings.folders``.
        presets: the presets that work with this network.
        network_lock: who may use the network now.
        queue: the jobs that wait for it.
        sessions: everyone's.
    """

    settings: Settings
    network: Generator
    directions: dict[str, Direction]
    presets: tuple[str, ...]
    network_lock: NetworkLock
    queue: JobQueue
    sessions: Sessions

    @classmethod
    def open(cls, settings: Settings, folder: Path, network: Generator | None = None) -> Studio:
        """Load everything once.

        Args:
            settings: see :class:`Settings`.
            folder: where sessions keep their files.
            network: a generator that is at hand; None loads the one of ``settings``.

        Raises:
            CheckpointError, MissingWeightsError, UsageError: no such network, or one that cannot be read.
        """
        generator = open_network(settings.network if network is None else network, settings.device)
        generator.file = public_name(generator.file)
        load_perceptual("embedded", generator.w_avg.device)
        generator.w_std()
        network_lock = NetworkLock()
        return cls(
            settings=settings,
            network=generator,
            directions=_directions(generator, settings.folders),
            presets=_presets(generator),
            network_lock=network_lock,
            queue=JobQueue(settings.max_queue, network_lock),
            sessions=Sessions(folder, settings.session_minutes, settings.leave_seconds, settings.limits.kept),
        )

    def draw(self, inversion: Inversion) -> np.ndarray:
        """The picture of a latent, uint8 [R, R, 3]."""
        with self.network_lock.quick():
            return to_pixels(inversion.tensor(self.network))[0]


def public_name(file: str) -> str:
    """What visitors' files may say of where the network is: a known name, or a file's own name without its folders.

    A path tells of the machine the page runs on.
    """
    if file in network_names() or is_published(file):
        return file
    own = PurePath(file.replace("\\", "/")).name
    return "" if own in network_names() or is_published(own) else own


def _directions(network: Generator, folders: tuple[Path, ...]) -> dict[str, Direction]:
    """Every direction that fits; what is damaged or of another network is passed over."""
    found = {}
    for name in direction_files(network, folders):
        try:
            direction = find_direction(name, network, folders)
            direction.moves(network.num_ws, network.w_dim)
        except RelatentError:
            continue
        found[direction.name] = direction
    return found


def _presets(network: Generator) -> tuple[str, ...]:
    """All presets but those that need an encoder this network has not."""
    has_encoder = True
    try:
        encoder_for(network, PRESETS["fast"], None)
    except RelatentError:
        has_encoder = False
    return tuple(name for name, plan in PRESETS.items() if plan.optimiser is not None or has_encoder)
