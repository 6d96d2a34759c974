"""From photos to latents: `invert` for people, `invert_images` for tensors. The first calls the second."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from inversion.encoders.encoder import Encoder
from inversion.inversion import Inversion
from inversion.losses.loss import Target
from inversion.losses.perceptual import load_perceptual
from inversion.masks import mask_of
from inversion.optim.preconditioner import Preconditioner
from inversion.optim.preconditioner_file import preconditioner_for
from inversion.optim.projector import Progress, split
from inversion.presets import DEFAULT_PRESET, DEFAULT_SEED, plan_for
from inversion.stages import carry_out, encoder_for
from relatent.core import cpu
from relatent.core.device import pick_device
from relatent.core.errors import PhotoError, ShapeError, UsageError
from relatent.core.images import Photo, find_photos, read_photo, to_tensor
from relatent.core.precision import computing_in
from relatent.face import AlignedFace, align_face, centre_square, choose_faces, find_faces
from stylegan import Generator, load, network_id
from weights.embedded import DEFAULT_NETWORK

PhotoLike = str | Path | np.ndarray | Image.Image | Photo
NetworkLike = str | Path | Generator
Which = Literal["largest", "all"] | int


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
        align: find the face and crop it as the network needs it; False takes the centre square as it is.
        face: which face, "largest" or a number counted from 1, largest first.
        mask: what counts: "auto" for the face's hull, or a picture, see :func:`inversion.masks.mask_of`; None for all.
        **options: the options of :func:`invert_images`.

    Returns:
        One Inversion, or a list of them for a list or folder.

    Raises:
        PhotoError: a picture that cannot be read, or has no face.
        UsageError: an option that cannot be meant.
    """
    align, face, mask = bool(options.pop("align", True)), options.pop("face", "largest"), options.pop("mask", None)
    device = options.pop("device", None)
    network = open_network(options.pop("network", None), device)
    many = isinstance(photo, list | tuple) or (isinstance(photo, str | Path) and Path(photo).is_dir())
    photos = [open_photo(one) for one in _listed(photo)]
    faces = [crop_faces(one, network, align=align, which=face)[0] for one in photos]
    images = torch.cat([to_tensor(one.image) for one in faces])
    if mask is not None:
        pairs = zip(faces, photos, strict=True)
        options["masks"] = torch.cat([mask_of(mask, one, source, network.alignment) for one, source in pairs])
    inversions = [
        inversion.replace(face_to_photo=aligned.face_to_photo, photo=Path(source.name).name)
        for inversion, aligned, source in zip(invert_images(images, network, **options), faces, photos, strict=True)
    ]
    return inversions if many else inversions[0]


def invert_images(
    images: Tensor,  # [N, 3, R, R] in [-1, 1], aligned faces at the network's size
    network: NetworkLike | None = None,  # name, file or generator; None for the embedded one
    *,
    preset: str = DEFAULT_PRESET,  # fast, balanced, best or paper
    space: str | None = None,  # "w" or "w+"; None for the preset's own
    num_steps: int | None = None,  # of the optimiser; None for the preset's own
    seed: int = DEFAULT_SEED,  # of the noise the optimisation starts from
    masks: Tensor | None = None,  # [N, 1, R, R], 1 where a photo counts and 0 where it does not; None for everywhere
    encoder: str | Encoder | None = None,  # name, file or encoder; None for the one that comes with the network
    preconditioner: str | Preconditioner | None = None,  # a file or a value; None for the network's own, if any
    lpips: str = "embedded",  # whose features the perceptual distance uses
    precision: str = "float32",  # of the features: float32, tf32, bfloat16 or auto; latents and losses are float32
    device: str | None = None,  # None for the best there is
    progress: Progress | None = None,  # sees each step; returning False cancels
    seconds: dict[str, float] | None = None,  # is given the seconds of encode, optimise and tune, of the whole batch
) -> list[Inversion]:
    """Invert a batch of aligned faces; one photo's result does not depend on the others.

    Raises:
        ShapeError: pictures of another size than the network's.
        UsageError: an option that cannot be meant.
        Cancelled: the callback returned False.
    """
    generator = open_network(network, device)
    own = preconditioner_for(generator, preconditioner, lpips)
    where = generator.w_avg.device
    plan = plan_for(
        preset, space=space, num_steps=num_steps, precision=precision, device=where, preconditioned=own is not None
    )
    size = generator.resolution
    if images.ndim != 4 or images.shape[1:] != (3, size, size) or not images.is_floating_point():
        raise ShapeError(f"images are {images.dtype} {list(images.shape)}; expected float [N, 3, {size}, {size}].")
    if masks is not None and (masks.shape != (len(images), 1, size, size) or not masks.is_floating_point()):
        raise ShapeError(f"masks are {masks.dtype} {list(masks.shape)}; expected float [N, 1, {size}, {size}].")
    with computing_in(plan.precision, where) as dtype:
        target = Target(images.to(where, torch.float32), load_perceptual(lpips, where), masks, dtype)
        found = carry_out(
            plan,
            generator,
            encoder_for(generator, plan, encoder),
            target,
            preconditioner=own,
            seed=seed,
            progress=progress,
        )
    if seconds is not None:
        seconds.update(found.seconds)
    identifier = network_id(generator)
    return [
        Inversion(
            ws=ws,
            noise=None if found.own_noise else noise,
            space=plan.space,
            network=identifier,
            network_file=generator.file,
            losses={"total": float(loss)},
            seed=seed,
            tuned=found.tuned[index] if found.tuned else None,
        )
        for index, ((ws, noise), loss) in enumerate(
            zip(split(found.latents, generator.num_ws), found.losses.tolist(), strict=True)
        )
    ]


def open_network(network: object, device: object = None) -> Generator:
    """A generator ready to be inverted: loaded if it is a name or file, frozen, on its device.

    A generator that is passed in keeps its device unless ``device`` says otherwise.
    """
    if isinstance(network, Generator):
        generator = network if device is None else network.to(pick_device(str(device)))
    else:
        where = pick_device(None if device is None else str(device))
        generator = load(str(network or DEFAULT_NETWORK)).to(where)
    cpu.lay_out(generator.synthesis, generator.w_avg.device)
    return generator.eval().requires_grad_(False)


def open_photo(photo: PhotoLike) -> Photo:
    """Any kind of picture as a Photo."""
    if isinstance(photo, Photo):
        return photo
    if isinstance(photo, str | Path):
        return read_photo(photo)
    if isinstance(photo, Image.Image):
        return Photo(np.array(photo.convert("RGB")), name="the picture")
    if isinstance(photo, np.ndarray) and photo.dtype == np.uint8 and photo.ndim == 3 and photo.shape[2] == 3:
        return Photo(photo, name="the picture")
    raise UsageError(
        f"a photo came as {type(photo).__name__}; expected a path, a Pillow image or a uint8 array [H, W, 3]."
    )


def crop_faces(photo: Photo, network: Generator, *, align: bool, which: Which = "largest") -> list[AlignedFace]:
    """The wanted faces of a photo, cropped as ``network`` needs them, largest first.

    Raises:
        FaceNotFoundError: no face, or not as many as asked for.
    """
    if not align:
        return [centre_square(photo.pixels, network.resolution)]
    height, width = photo.pixels.shape[:2]
    faces = choose_faces(find_faces(photo.pixels), which, photo.name, (width, height))
    return [align_face(photo.pixels, face.landmarks, network.alignment, network.resolution) for face in faces]


def _listed(photo: object) -> list[PhotoLike]:
    if isinstance(photo, list | tuple):
        return list(photo)
    if isinstance(photo, str | Path) and Path(photo).is_dir():
        found = find_photos(Path(photo))
        if not found:
            raise PhotoError(f"{photo} holds no pictures; expected files such as .jpg or .png.")
        return list(found)
    return [photo]  # type: ignore[list-item]
