"""The inversion pipeline: crops and masks the faces of photos, inverts, draws and measures them.

Used by inversion/inverting.py, the command line, the page and the batch.
"""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inversion.config import InvertConfig
from inversion.halving import in_parts
from inversion.inversion import Inversion
from inversion.losses.loss import Target
from inversion.losses.perceptual import load_perceptual
from inversion.masks import mask_of
from inversion.metrics import Quality, measure
from inversion.optim.preconditioner_file import preconditioner_for
from inversion.optim.projector import Progress, split
from inversion.percentiles import LpipsPercentile, measured_faces
from inversion.photos import Crop, crop_faces
from inversion.stages import PlanResult, encoder_for, run_plan
from relatent.core.device import lay_out, pick_device
from relatent.core.errors import ShapeError
from relatent.core.execution import resolved_execution
from relatent.core.images import Photo, to_tensor
from relatent.core.precision import computing_in
from relatent.face import AlignedFace, Face, find_faces
from relatent.face.crop import pack_crop
from stylegan import Generator, load, network_id
from weights.embedded import DEFAULT_NETWORK

NetworkLike = str | Path | Generator


@dataclass
class PreparedFace:
    """A cropped face, ready to be inverted.

    Attributes:
        aligned: the crop.
        photo: the photo's file name.
        mask: [1, 1, R, R], 1 where the photo counts; None for everywhere.
        crop: the face at the photo's own resolution, packed (:mod:`relatent.face.crop`); None if it is not kept.
        number: of the face among those of the photo, counted from 1, largest first.
        faces: number of faces found in the photo; None if faces were not detected.
        seconds: of the stages so far.
    """

    aligned: AlignedFace
    photo: str = ""
    mask: Tensor | None = None
    crop: bytes | None = None
    number: int = 1
    faces: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class InvertedFace:
    """An inverted face, drawn and measured.

    Attributes:
        inversion: with the face's position in the photo.
        aligned: the inverted crop, uint8 [R, R, 3].
        drawn: the picture of the inversion, float32 [1, 3, R, R].
        quality: measures of ``drawn`` against ``aligned``.
        percentile: of its LPIPS among the validation faces; None if these were not measured with the same settings.
        seconds: of each stage.
        mask_share: how much of the crop counted, 0 to 1; None without a mask.
    """

    inversion: Inversion
    aligned: np.ndarray
    drawn: Tensor
    quality: Quality
    percentile: LpipsPercentile | None
    seconds: dict[str, float]
    mask_share: float | None = None


class Pipeline:
    """A network and a configuration, with everything else loaded once for any number of photos.

    Args:
        network: name, file or generator; None for the embedded one. A generator is not modified: it is copied if it
            must be frozen or moved.
        config: see :class:`InvertConfig`.
        device: None for the generator's own, or the best available one.

    Raises:
        UsageError: the configuration does not fit the network.
        CheckpointError: a file cannot be read.
    """

    def __init__(
        self, network: NetworkLike | None = None, config: InvertConfig | None = None, *, device: object = None
    ) -> None:
        self.config = config or InvertConfig()
        self.network = open_network(network, device)
        self.plan = self.config.plan(self.network)
        self.preconditioner = preconditioner_for(self.network, self.config.preconditioner, self.config.lpips)
        self.encoder = encoder_for(self.network, self.plan, self.config.encoder)
        self.perceptual = load_perceptual(self.config.lpips, self.network.w_avg.device)

    def prepare(self, photo: Photo, found: list[Face] | None = None) -> list[PreparedFace]:
        """The chosen faces of a photo, cropped and masked, largest first.

        Args:
            photo: EXIF orientation applied.
            found: its detected faces, largest first; None detects them.

        Raises:
            PhotoError: there is no face, or the mask does not fit.
        """
        return prepare_faces(photo, self.config, self.network, found)

    def invert(
        self, faces: Sequence[PreparedFace], progress: Progress | None = None, *, fill: int = 1
    ) -> list[InvertedFace]:
        """Invert faces as one batch, draw and measure them.

        Args:
            faces: from :meth:`prepare`; may come from different photos.
            progress: called at each step; returning False cancels.
            fill: fewer faces are filled up to this number by copies of the last one, and what comes of the copies is
                dropped. Operators round differently for each number of photos, and the steps amplify it; with this, a
                face's result does not depend on how many others there are.

        Raises:
            Cancelled: the callback returned False.
        """
        images = torch.cat([to_tensor(face.aligned.image) for face in faces])
        masks = [face.mask for face in faces if face.mask is not None]
        result = self._run(images, torch.cat(masks) if masks else None, progress, fill)
        inversions = self._inversions(result)
        alignment = self.network.alignment if self.config.align else None
        results = []
        for face, inversion, image in zip(faces, inversions, images.split(1), strict=True):
            started = time.perf_counter()
            drawn = inversion.tensor(self.network)
            quality = measure(drawn, image, self.perceptual, alignment)
            seconds = {stage: value / len(faces) for stage, value in result.seconds.items()}
            results.append(
                InvertedFace(
                    inversion.replace(
                        face_to_photo=face.aligned.face_to_photo,
                        photo=face.photo,
                        crop=face.crop,
                        metrics=quality.numbers(),
                    ),
                    face.aligned.image,
                    drawn,
                    quality,
                    self._percentile(quality),
                    {**face.seconds, **seconds, "measure": time.perf_counter() - started},
                    None if face.mask is None else float(face.mask.mean()),
                )
            )
        return results

    def optimise(
        self,
        images: Tensor,
        masks: Tensor | None = None,
        progress: Progress | None = None,
        seconds: dict[str, float] | None = None,
    ) -> list[Inversion]:
        """The latents of aligned faces.

        Args:
            images: float [N, 3, R, R] in [-1, 1], at the network's size.
            masks: weight of each pixel in the loss, float [N, 1, R, R], 0 to 1; None for 1 everywhere.
            progress: called at each step; returning False cancels.
            seconds: receives the seconds of encode, optimise and tune, for the whole batch.

        Raises:
            ShapeError: pictures or masks have another size.
            Cancelled: the callback returned False.
        """
        result = self._run(images, masks, progress)
        if seconds is not None:
            seconds.update(result.seconds)
        return self._inversions(result)

    def _run(self, images: Tensor, masks: Tensor | None, progress: Progress | None, fill: int = 1) -> PlanResult:
        """Run the plan on all photos together, or on parts of them where memory is too small."""
        together = functools.partial(self._run_together, whole=len(images), fill=fill)
        return in_parts(together, images, masks, progress, self.network.w_avg.device)

    def _run_together(
        self, images: Tensor, masks: Tensor | None, progress: Progress | None, *, whole: int, fill: int
    ) -> PlanResult:
        if len(images) < whole:  # a part of them, because memory is too small
            fill = 1
        count = len(images) if len(images) < fill else None
        images, masks = _filled(images, fill), None if masks is None else _filled(masks, fill)
        with self._target(images, masks) as target:
            return run_plan(
                self.plan, self.network, self.encoder, target, progress=progress, count=count, **self._choices
            )

    @property
    def _choices(self) -> dict[str, Any]:
        execution = resolved_execution(self.config.execution, self.network.w_avg.device)
        return {"preconditioner": self.preconditioner, "seed": self.config.seed, "execution": execution}

    @contextmanager
    def _target(self, images: Tensor, masks: Tensor | None) -> Iterator[Target]:
        """What the loss compares with, while the device computes in the plan's precision."""
        device = self.network.w_avg.device
        _check_images(images, masks, self.network.resolution)
        with computing_in(self.plan.precision, device) as dtype:
            yield Target(images.to(device, torch.float32), self.perceptual, masks, dtype)

    def _inversions(self, result: PlanResult) -> list[Inversion]:
        """Each photo's latents as a value of its own."""
        network, config = self.network, self.config
        identifier, latents = network_id(network), split(result.latents, network.num_ws)
        return [
            Inversion(
                ws=ws,
                noise=None if result.own_noise else noise,
                space=self.plan.space,
                network=identifier,
                network_file=network.file,
                losses={"total": float(loss)},
                seed=config.seed,
                tuned=result.tuned[index] if result.tuned else None,
            )
            for index, ((ws, noise), loss) in enumerate(zip(latents, result.losses.tolist(), strict=True))
        ]

    def _percentile(self, quality: Quality) -> LpipsPercentile | None:
        config = self.config
        if config.mask is not None or config.encoder is not None or config.preconditioner is not None:
            return None
        measured = measured_faces(self.network, config.preset, self.plan)
        return None if measured is None else measured.percentile(quality.lpips, quality.lpips_trunk)


def prepare_faces(
    photo: Photo, config: InvertConfig, network: Crop, found: list[Face] | None = None
) -> list[PreparedFace]:
    """:meth:`Pipeline.prepare`, for which the network need not be loaded."""
    started = time.perf_counter()
    if config.align and found is None:
        found = find_faces(photo.pixels)
    crops = crop_faces(photo, network, align=config.align, which=config.face, found=found)
    masks = [None if config.mask is None else mask_of(config.mask, crop, photo, network.alignment) for crop in crops]
    size = network.resolution
    packed = [pack_crop(photo.pixels, crop.face_to_photo, size) if config.keep_photo else None for crop in crops]
    seconds = (time.perf_counter() - started) / len(crops)
    name = Path(photo.name).name
    count = len(found) if config.align and found is not None else None
    first = config.face if config.align and isinstance(config.face, int) else 1
    return [
        PreparedFace(crop, name, mask, kept, number, count, {"align": seconds})
        for number, (crop, mask, kept) in enumerate(zip(crops, masks, packed, strict=True), start=first)
    ]


def open_network(network: object = None, device: object = None) -> Generator:
    """Load a generator for inversion: frozen, in evaluation mode, on ``device``.

    Args:
        network: name, file or generator; None for the embedded one. A generator is never modified: if it is
            trainable, in training mode or on another device, it is copied.
        device: None for the generator's own, or the best available one.
    """
    if not isinstance(network, Generator):
        where = pick_device(None if device is None else str(device))
        generator = load(DEFAULT_NETWORK if network is None else str(network)).to(where)
    else:
        where = network.w_avg.device if device is None else pick_device(str(device))
        frozen = not network.training and not any(one.requires_grad for one in network.parameters())
        if frozen and where == network.w_avg.device:
            return network
        generator = copy.deepcopy(network).to(where)
    lay_out(generator.synthesis, where)
    return generator.eval().requires_grad_(False)


def _filled(values: Tensor, count: int) -> Tensor:
    """At least ``count`` values along the first dimension: the last one is repeated."""
    missing = max(0, count - len(values))
    return torch.cat([values, values[-1:].expand(missing, *values.shape[1:])])


def _check_images(images: Tensor, masks: Tensor | None, size: int) -> None:
    if images.ndim != 4 or images.shape[1:] != (3, size, size) or not images.is_floating_point():
        raise ShapeError(f"images are {images.dtype} {list(images.shape)}; expected float [N, 3, {size}, {size}].")
    if masks is not None and (masks.shape != (len(images), 1, size, size) or not masks.is_floating_point()):
        raise ShapeError(f"masks are {masks.dtype} {list(masks.shape)}; expected float [N, 1, {size}, {size}].")
