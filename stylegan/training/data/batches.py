"""The real pictures of a step."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from relatent.core.images import from_uint8
from stylegan.training.data.augment import random_flip
from stylegan.training.seeding import mixed_seed
from stylegan.training.settings import TrainingSettings
from stylegan.training.shard import draw


def real_batch(
    images: Tensor, classes: Tensor | None, settings: TrainingSettings, first: int, side: int, size: int
) -> tuple[Tensor, Tensor | None]:
    """The current part of a step's pictures; each epoch shows all pictures once, in random order.

    Args:
        images: all training pictures, uint8 [count, C, R, R].
        classes: int64 [count], or None.
        settings: of the run.
        first: how many pictures were seen before this step.
        side: the pictures are reduced to this by averaging.
        size: samples of the part.

    Returns:
        float32 [size, C, side, side], and one-hot classes [size, c_dim] or None.
    """
    count, batch = len(images), settings.batch
    indices = []
    for epoch in range(first // count, (first + batch - 1) // count + 1):
        order = _epoch_order(count, settings.seed, epoch, images.device)
        indices.append(order[max(first - epoch * count, 0) : first + batch - epoch * count])
    chosen = torch.cat(indices)
    if size < batch:
        chosen = draw(lambda _: chosen, size)
    pictures = from_uint8(images[chosen])
    if pictures.shape[-1] > side:
        pictures = nn.functional.avg_pool2d(pictures, pictures.shape[-1] // side)
    if settings.flip:
        pictures = random_flip(pictures)
    if not settings.generator.c_dim:
        return pictures, None
    assert classes is not None
    return pictures, nn.functional.one_hot(classes[chosen], settings.generator.c_dim).float()


@functools.lru_cache(maxsize=2)  # a batch may span the end of one epoch and the start of the next
def _epoch_order(count: int, seed: int, epoch: int, device: torch.device) -> Tensor:
    """The order of the pictures in an epoch, int64 [count]; the same on every device."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(mixed_seed(seed, epoch, "epoch")))
    return order.to(device, non_blocking=True)
