"""Random faces of seeds, as inversions without a photo, and random directions."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from editing.directions.direction import Direction
from inversion.inversion import Inversion
from relatent.core.errors import UsageError
from relatent.core.numbers import as_truncation, as_whole
from stylegan import network_id
from stylegan.networks.generator import Generator

SEEDS = 2**32  # number of seeds of NumPy's RandomState


def seed_z(seed: int, z_dim: int) -> Tensor:
    """The z of ``seed``, float32 [1, z_dim], drawn as in NVIDIA's tools, so that seeds give the same faces.

    Raises:
        UsageError: the seed is not from 0 to 2^32 - 1.
    """
    seed = as_whole("the seed", seed, 0, SEEDS - 1)
    return torch.from_numpy(np.random.RandomState(seed).randn(1, z_dim).astype(np.float32))


@torch.no_grad()
def inversion_of_z(network: Generator, z: Tensor, psi: float = 1.0, seed: int = 0, c: int | None = None) -> Inversion:
    """z [1, z_dim] as an inversion in W, with the network's own noise.

    Args:
        network: what draws it.
        z: standard normal.
        psi: truncation; 1 leaves the latent alone, 0 gives the average face.
        seed: recorded as the inversion's.
        c: the class, counted from 0; None for the one the network was given (``Generator.of_class``), or for none.

    Raises:
        UsageError: psi is no finite number, a class that the network has not, or none where it has classes.
    """
    psi = as_truncation(psi)
    network = network.of_class(c)
    if network.c_dim and network.chosen_class is None:
        raise UsageError(
            f"{network.name or 'this network'} has {network.c_dim} classes, and a seed names none. "
            f"Choose one: --class 0 to {network.c_dim - 1}, or c= in Python."
        )
    ws = network.mapping(z.to(network.w_avg.device), truncation_psi=psi).float().cpu()
    return Inversion(ws=ws, network=network_id(network), space="w", network_file=network.file, seed=seed)


@torch.no_grad()
def random_direction(network: Generator, seed: int) -> Direction:
    """The direction from the network's average face to the face of ``seed``, called "random_SEED".

    Of a network with classes the seed chooses one, too, unless it was chosen.

    Raises:
        UsageError: a seed that is not from 0 to 2^32 - 1.
    """
    c = seed % network.c_dim if network.c_dim and network.chosen_class is None else None
    difference = seed_inversion(network, seed, c=c).ws[0, 0] - network.w_avg.float().cpu()  # [w_dim]
    return Direction(
        vector=difference,
        name=f"random_{seed}",
        network=network_id(network),
        source=f"random, seed {seed}",
        unit=f"the whole way from the average face to the random face of seed {seed}",
    )


def seed_inversion(network: Generator, seed: int, psi: float = 1.0, c: int | None = None) -> Inversion:
    """The face of ``seed``; see :func:`seed_z` and :func:`inversion_of_z`."""
    return inversion_of_z(network, seed_z(seed, network.z_dim), psi, seed, c)
