"""The state of the server that all users share: the network, its directions, the queue and the sessions.

Used by the tabs::

    app.network                     the generator; frozen, in evaluation mode
    app.directions                  its directions by name
    app.settings.limits             limits of uploads (relatent/web/uploads.py)
    app.network_lock.quick()        hold it for every short use of the network in a handler
    app.queue.start(task, session)  for everything longer (relatent/web/queue.py)
    app.draw(inversion)             one picture, uint8 [R, R, 3]

Data of single users belong into their session.
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
class AppState:
    """The shared state of the server; see the module's docstring.

    Attributes:
        settings: of the page.
        network: the generator.
        directions: the network's directions by name, embedded ones and those of ``settings.folders``.
        presets: the presets that work with this network.
        network_lock: must be held while the network is used.
        queue: of the jobs.
        sessions: of all users.
    """

    settings: Settings
    network: Generator
    directions: dict[str, Direction]
    presets: tuple[str, ...]
    network_lock: NetworkLock
    queue: JobQueue
    sessions: Sessions

    @classmethod
    def open(cls, settings: Settings, folder: Path, network: Generator | None = None) -> AppState:
        """Load everything once.

        Args:
            settings: see :class:`Settings`.
            folder: of the sessions' files.
            network: a loaded generator; None loads the one of ``settings``.

        Raises:
            CheckpointError, MissingWeightsError, UsageError: the network does not exist or cannot be read.
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
        """The picture of an inversion, uint8 [R, R, 3]."""
        with self.network_lock.quick():
            return to_pixels(inversion.tensor(self.network))[0]


def public_name(file: str) -> str:
    """The network's name for files that users download: a known name, or the file name without its folders.

    A full path would reveal details of the server.
    """
    if file in network_names() or is_published(file):
        return file
    name = PurePath(file.replace("\\", "/")).name
    return "" if name in network_names() or is_published(name) else name


def _directions(network: Generator, folders: tuple[Path, ...]) -> dict[str, Direction]:
    """All directions of the network; damaged files and those of other networks are skipped."""
    directions = {}
    for name in direction_files(network, folders):
        try:
            direction = find_direction(name, network, folders)
            direction.moves(network.num_ws, network.w_dim)
        except RelatentError:
            continue
        directions[direction.name] = direction
    return directions


def _presets(network: Generator) -> tuple[str, ...]:
    """All presets, without those that need an encoder if the network has none."""
    has_encoder = True
    try:
        encoder_for(network, PRESETS["fast"], None)
    except RelatentError:
        has_encoder = False
    return tuple(name for name, plan in PRESETS.items() if plan.optimiser is not None or has_encoder)
