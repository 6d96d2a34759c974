"""Inversion from Python: `invert` and `invert_photo` take photos, `invert_images` aligned tensors.

All of them go through :class:`inversion.pipeline.Pipeline`, as the command, the batch and the page do.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image
from torch import Tensor

from inversion.config import InvertConfig
from inversion.inversion import Inversion
from inversion.optim.projector import Progress
from inversion.photos import PhotoLike, is_many, listed, open_photo
from inversion.pipeline import NetworkLike, Pipeline, PreparedFace, batch_size_for
from relatent.core.errors import PhotoError
from relatent.core.images import Photo


def invert_photo(
    photo: PhotoLike,
    network: NetworkLike | None = None,
    config: InvertConfig | None = None,
    *,
    device: object = None,
    progress: Progress | None = None,
) -> list[Inversion]:
    """Find the wanted faces of a photo and put them into the latent space; their ``metrics`` say how close they are.

    Args:
        photo: a path, a Pillow image, uint8 [H, W, 3] or a :class:`Photo`.
        network: name, file or generator; None for the embedded one.
        config: see :class:`InvertConfig`.
        device: None for the best there is.
        progress: sees each step; returning False cancels.

    Returns:
        An Inversion for each wanted face, largest first.

    Raises:
        PhotoError: a picture that cannot be read, or has no face.
        UsageError: a configuration that cannot be meant.
        Cancelled: the callback returned False.
    """
    pipeline = Pipeline(network, config, device=device)
    return [face.inversion for face in pipeline.invert(pipeline.prepare(open_photo(photo)), progress)]


@overload
def invert(photo: str | Path, **options: Any) -> Any: ...
@overload
def invert(photo: np.ndarray | Image.Image | Photo, **options: Any) -> Inversion: ...
@overload
def invert(photo: list[PhotoLike], **options: Any) -> list[Inversion]: ...
def invert(photo: Any, **options: Any) -> Any:
    """Find the face in a photo and put it into the latent space.

    Args:
        photo: a path, a Pillow image, uint8 [H, W, 3], or a list of these; a folder stands for its pictures.
        **options: ``network``, ``device`` and ``progress`` of :func:`invert_photo`, and the fields of
            :class:`InvertConfig`.

    Returns:
        One Inversion; a list of them for a list, a folder or ``face="all"``. Of a list or folder, a photo that
        cannot be inverted is left out with a warning that names it; each Inversion's ``photo`` says where it is from.

    Raises:
        PhotoError: a picture that cannot be read, or has no face; of several, all of them.
        UsageError: an option that cannot be meant.
    """
    device, network, progress = (options.pop(name, None) for name in ("device", "network", "progress"))
    pipeline = Pipeline(network, InvertConfig(**options), device=device)
    if is_many(photo):
        return list(_invert_each(listed(photo), pipeline, progress))
    found = [face.inversion for face in pipeline.invert(pipeline.prepare(open_photo(photo)), progress)]
    return found if pipeline.config.face == "all" else found[0]


def invert_images(
    images: Tensor,  # [N, 3, R, R] in [-1, 1], aligned faces at the network's size
    network: NetworkLike | None = None,  # name, file or generator; None for the embedded one
    *,
    masks: Tensor | None = None,  # [N, 1, R, R], 1 where a photo counts and 0 where it does not; None for everywhere
    device: str | None = None,  # None for the best there is
    progress: Progress | None = None,  # sees each step; returning False cancels
    seconds: dict[str, float] | None = None,  # is given the seconds of encode, optimise and tune, of the whole batch
    **options: Any,  # the fields of InvertConfig
) -> list[Inversion]:
    """Invert a batch of aligned faces.

    Raises:
        ShapeError: pictures of another size than the network's.
        UsageError: an option that cannot be meant.
        Cancelled: the callback returned False.
    """
    return Pipeline(network, InvertConfig(**options), device=device).optimise(images, masks, progress, seconds)


def _invert_each(photos: list[PhotoLike], pipeline: Pipeline, progress: Progress | None) -> Iterator[Inversion]:
    """Photos one after another, faces in batches; no more than a batch of pictures is in memory at once."""
    waiting: list[PreparedFace] = []
    size = batch_size_for(pipeline.network)
    failed: list[PhotoError] = []
    for photo in photos:
        try:
            waiting += pipeline.prepare(open_photo(photo))
        except PhotoError as error:
            failed.append(error)
            warnings.warn(f"left out: {error}", stacklevel=3)
        while len(waiting) >= size:
            yield from (face.inversion for face in pipeline.invert(waiting[:size], progress))
            waiting = waiting[size:]
    if waiting:
        yield from (face.inversion for face in pipeline.invert(waiting, progress))
    if failed and len(failed) == len(photos):
        raise failed[0]
