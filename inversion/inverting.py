"""The Python interface of inversion: `invert` and `invert_photo` take photos, `invert_images` takes aligned tensors.

All of them use :class:`inversion.pipeline.Pipeline`, as the command line, the batch and the page do.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image
from torch import Tensor

from inversion.batch_size import batch_size_for
from inversion.config import InvertConfig
from inversion.inversion import Inversion
from inversion.optim.projector import Progress
from inversion.photos import PhotoLike, is_many, open_photo, photos_of
from inversion.pipeline import NetworkLike, Pipeline, PreparedFace
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
    """Invert the faces of a photo; their ``metrics`` tell how close the results are.

    Args:
        photo: a path, a Pillow image, uint8 [H, W, 3] or a :class:`Photo`.
        network: name, file or generator; None for the embedded one.
        config: see :class:`InvertConfig`; ``config.face`` chooses the faces.
        device: None for the generator's own, or the best available one.
        progress: called at each step; returning False cancels.

    Returns:
        An Inversion for each chosen face, largest first.

    Raises:
        PhotoError: the picture cannot be read, or has no face.
        UsageError: the configuration does not fit the network.
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
    """Invert the face in a photo.

    Args:
        photo: a path, a Pillow image, uint8 [H, W, 3], or a list of these; a folder stands for its pictures.
        **options: ``network``, ``device`` and ``progress`` of :func:`invert_photo`, and the fields of
            :class:`InvertConfig`.

    Returns:
        One Inversion; a list of them for a list, a folder or ``face="all"``. A photo of a list or folder that cannot
        be inverted is left out with a warning, and so is a file in a folder that is no picture, or that Relatent made.
        The ``photo`` of an Inversion is the name of its file.

    Raises:
        PhotoError: the picture cannot be read, or has no face; for several, only if all of them fail.
        UsageError: an invalid option.
    """
    device, network, progress = (options.pop(name, None) for name in ("device", "network", "progress"))
    pipeline = Pipeline(network, InvertConfig(**options), device=device)
    if is_many(photo):
        return list(_invert_each(photos_of(photo), pipeline, progress))
    inversions = [face.inversion for face in pipeline.invert(pipeline.prepare(open_photo(photo)), progress)]
    return inversions if pipeline.config.face == "all" else inversions[0]


def invert_images(
    images: Tensor,  # [N, 3, R, R] in [-1, 1], aligned faces at the network's size
    network: NetworkLike | None = None,  # name, file or generator; None for the embedded one
    *,
    masks: Tensor | None = None,  # weight of each pixel in the loss, [N, 1, R, R], 0 to 1; None for 1 everywhere
    device: str | None = None,  # None for the generator's own, or the best available one
    progress: Progress | None = None,  # called at each step; returning False cancels
    seconds: dict[str, float] | None = None,  # receives the seconds of encode, optimise and tune, for the whole batch
    **options: Any,  # the fields of InvertConfig
) -> list[Inversion]:
    """Invert a batch of aligned faces.

    Raises:
        ShapeError: the pictures have another size than the network's.
        UsageError: an invalid option.
        Cancelled: the callback returned False.
    """
    return Pipeline(network, InvertConfig(**options), device=device).optimise(images, masks, progress, seconds)


def _invert_each(photos: list[PhotoLike], pipeline: Pipeline, progress: Progress | None) -> Iterator[Inversion]:
    """Open photos one after another and invert their faces in batches, so that memory does not grow with the list."""
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
