"""From photos to latents: crop, mask, optimise, draw once, measure. The one way for command, Python, page and batch."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from inversion.config import InvertConfig
from inversion.inversion import Inversion
from inversion.losses.loss import Target
from inversion.losses.perceptual import load_perceptual
from inversion.masks import mask_of
from inversion.metrics import Quality, measure
from inversion.optim.preconditioner_file import preconditioner_for
from inversion.optim.projector import Progress, split
from inversion.percentiles import LpipsPercentile, measured_faces
from inversion.photos import crop_faces
from inversion.stages import carry_out, encoder_for
from relatent.core import cpu
from relatent.core.device import pick_device
from relatent.core.errors import ShapeError
from relatent.core.images import Photo, to_tensor
from relatent.core.precision import computing_in
from relatent.face import AlignedFace, Face
from relatent.face.crop import pack_crop
from stylegan import Generator, load, network_id
from weights.embedded import DEFAULT_NETWORK

NetworkLike = str | Path | Generator


@dataclass
class PreparedFace:
    """A face that was cropped out of its photo and waits to be inverted.

    Attributes:
        aligned: the crop.
        photo: the photo's file name.
        mask: [1, 1, R, R], 1 where the photo counts; None for everywhere.
        crop: the face at the photo's own resolution, packed (:mod:`relatent.face.crop`); None if it is not kept.
        seconds: of the stages so far.
    """

    aligned: AlignedFace
    photo: str = ""
    mask: Tensor | None = None
    crop: bytes | None = None
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class InvertedFace:
    """A face in the latent space, drawn once and measured.

    Attributes:
        inversion: knows its place in the photo.
        aligned: the crop it was made from, uint8 [R, R, 3].
        drawn: what the inversion draws, float32 [1, 3, R, R].
        quality: how close that is to the crop.
        percentile: of its LPIPS among the validation faces; None where they were not measured in the same way.
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
    """A network and a configuration, ready for any number of photos: everything that is loaded once.

    Args:
        network: name, file or generator; None for the embedded one. A generator is neither moved nor frozen: where
            that is needed, a copy is used.
        config: see :class:`InvertConfig`.
        device: None for the best there is, or the generator's own.

    Raises:
        UsageError: a configuration that does not fit the network.
        CheckpointError: a file that cannot be read.
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
        """The wanted faces of a photo, cropped and masked, largest first.

        Args:
            photo: upright pixels.
            found: its faces where somebody has looked already; None looks for them.

        Raises:
            PhotoError: no face, or a mask that does not fit.
        """
        config, network = self.config, self.network
        started = time.perf_counter()
        crops = crop_faces(photo, network, align=config.align, which=config.face, found=found)
        masks = [
            None if config.mask is None else mask_of(config.mask, crop, photo, network.alignment) for crop in crops
        ]
        size = network.resolution
        packed = [pack_crop(photo.pixels, crop.face_to_photo, size) if config.keep_photo else None for crop in crops]
        seconds = (time.perf_counter() - started) / len(crops)
        name = Path(photo.name).name
        return [
            PreparedFace(*each, {"align": seconds})
            for each in zip(crops, [name] * len(crops), masks, packed, strict=True)
        ]

    def invert(self, faces: Sequence[PreparedFace], progress: Progress | None = None) -> list[InvertedFace]:
        """Invert faces together, draw each once and measure it.

        Args:
            faces: from :meth:`prepare`; they may come from different photos.
            progress: sees each step; returning False cancels.

        Raises:
            Cancelled: the callback returned False.
        """
        images = torch.cat([to_tensor(face.aligned.image) for face in faces])
        masks = [face.mask for face in faces if face.mask is not None]
        shared: dict[str, float] = {}
        inversions = self.optimise(images, torch.cat(masks) if masks else None, progress, shared)
        alignment = self.network.alignment if self.config.align else None
        results = []
        for face, inversion, image in zip(faces, inversions, images.split(1), strict=True):
            started = time.perf_counter()
            drawn = inversion.tensor(self.network)
            quality = measure(drawn, image, self.perceptual, alignment)
            seconds = {stage: value / len(faces) for stage, value in shared.items()}
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
            masks: float [N, 1, R, R], 1 where a photo counts; None for everywhere.
            progress: sees each step; returning False cancels.
            seconds: is given the seconds of encode, optimise and tune, of the whole batch.

        Raises:
            ShapeError: pictures or masks of another size.
            Cancelled: the callback returned False.
        """
        network, config, device = self.network, self.config, self.network.w_avg.device
        _check_images(images, masks, network.resolution)
        with computing_in(self.plan.precision, device) as dtype:
            found = carry_out(
                self.plan,
                network,
                self.encoder,
                Target(images.to(device, torch.float32), self.perceptual, masks, dtype),
                preconditioner=self.preconditioner,
                seed=config.seed,
                progress=progress,
            )
        if seconds is not None:
            seconds.update(found.seconds)
        identifier, latents = network_id(network), split(found.latents, network.num_ws)
        return [
            Inversion(
                ws=ws,
                noise=None if found.own_noise else noise,
                space=self.plan.space,
                network=identifier,
                network_file=network.file,
                losses={"total": float(loss)},
                seed=config.seed,
                tuned=found.tuned[index] if found.tuned else None,
            )
            for index, ((ws, noise), loss) in enumerate(zip(latents, found.losses.tolist(), strict=True))
        ]

    def _percentile(self, quality: Quality) -> LpipsPercentile | None:
        config = self.config
        if config.mask is not None or config.encoder is not None or config.preconditioner is not None:
            return None
        measured = measured_faces(self.network, config.preset, self.plan)
        return None if measured is None else measured.percentile(quality.lpips, quality.lpips_trunk)


def open_network(network: object = None, device: object = None) -> Generator:
    """A generator ready to be inverted: frozen, in evaluation mode, on its device.

    Args:
        network: name, file or generator; None for the embedded one. A generator is never changed: one that is
            trainable, in training mode or on another device is copied.
        device: None for the best there is, or the generator's own.
    """
    if not isinstance(network, Generator):
        where = pick_device(None if device is None else str(device))
        generator = load(str(network or DEFAULT_NETWORK)).to(where)
    else:
        where = network.w_avg.device if device is None else pick_device(str(device))
        frozen = not network.training and not any(one.requires_grad for one in network.parameters())
        if frozen and where == network.w_avg.device:
            return network
        generator = copy.deepcopy(network).to(where)
    cpu.lay_out(generator.synthesis, where)
    return generator.eval().requires_grad_(False)


def batch_size_for(network: Generator) -> int:
    """How many photos are optimised together where nobody says otherwise."""
    return 4 if network.resolution <= 256 else 1


def _check_images(images: Tensor, masks: Tensor | None, size: int) -> None:
    if images.ndim != 4 or images.shape[1:] != (3, size, size) or not images.is_floating_point():
        raise ShapeError(f"images are {images.dtype} {list(images.shape)}; expected float [N, 3, {size}, {size}].")
    if masks is not None and (masks.shape != (len(images), 1, size, size) or not masks.is_floating_point()):
        raise ShapeError(f"masks are {masks.dtype} {list(masks.shape)}; expected float [N, 1, {size}, {size}].")
