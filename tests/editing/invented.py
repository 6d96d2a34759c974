"""Faces that nobody inverted: latents with everything an inversion may have."""

import numpy as np
import torch

from inversion import Inversion
from stylegan import network_id


def invented(network, seed, *, noise=True, space="w+", **fields):
    """An inversion of a photo that never was, called ``face<seed>.jpg``; another one for each seed."""
    rng = torch.Generator().manual_seed(seed)
    layers = 1 if space == "w" else network.num_ws
    ws = torch.randn(1, layers, network.w_dim, generator=rng).expand(1, network.num_ws, -1).clone()
    levels = [torch.randn(level.shape, generator=rng) for level in network.synthesis.noise_buffers]
    return Inversion(
        ws=ws,
        noise=tuple(levels) if noise else None,
        space=space,
        network=network_id(network),
        network_file=network.file,
        face_to_photo=np.array([[2.0, 0, 10 * seed], [0, 2, 5], [0, 0, 1]]),
        seed=seed,
        photo=f"face{seed}.jpg",
        **fields,
    )
