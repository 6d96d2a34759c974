"""One photo's chosen face into the latent space, as a task for the queue. Knows no gradio."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inversion import Inversion, invert_images
from inversion.losses.perceptual import load_perceptual
from inversion.masks import mask_of
from inversion.metrics import measure
from inversion.optim.projector import Step
from inversion.pipeline import crop_faces
from inversion.presets import DEFAULT_PRESET, DEFAULT_SEED, plan_for
from relatent.core.images import Photo, to_pixels, to_tensor
from relatent.face import AlignedFace, align_face, centre_square
from relatent.web.actions.faces import Found
from relatent.web.queue import Report, Task
from relatent.web.studio import Studio


@dataclass(frozen=True)
class Choices:
    """How a photo is inverted; see :func:`inversion.invert_images`.

    Attributes:
        preset: a name of ``studio.presets``.
        num_steps: of the optimiser; None for the preset's own.
        space: "w", "w+" or None for the preset's own.
        seed: of the noise.
        lpips: whose features the distance uses.
        masked: only the face's hull counts.
        align: find and crop the face; else the centre square is taken.
    """

    preset: str = DEFAULT_PRESET
    num_steps: int | None = None
    space: str | None = None
    seed: int = DEFAULT_SEED
    lpips: str = "embedded"
    masked: bool = False
    align: bool = True

    def check(self) -> None:
        """Raises UsageError for a choice that cannot be meant."""
        plan_for(self.preset, space=self.space, num_steps=self.num_steps)


@dataclass(frozen=True)
class Inverted:
    """What came of it.

    Attributes:
        inversion: knows its place in the photo.
        aligned: uint8 [R, R, 3].
        drawn: uint8 [R, R, 3], what the inversion draws.
        facts: measures and seconds.
    """

    inversion: Inversion
    aligned: np.ndarray
    drawn: np.ndarray
    facts: dict[str, Any]


def cropped(photo: Photo, found: Found | None, align: bool, studio: Studio) -> AlignedFace:
    """The chosen face as the network needs it; found again where nobody looked for it yet.

    Raises:
        FaceNotFoundError: there is none.
    """
    network = studio.network
    if not align:
        return centre_square(photo.pixels, network.resolution)
    if found is None or not found.faces:
        return crop_faces(photo, network, align=True, which=found.chosen if found else 1)[0]
    face = found.faces[found.chosen - 1]
    return align_face(photo.pixels, face.landmarks, network.alignment, network.resolution)


def inverting(studio: Studio, photo: Photo, found: Found | None, choices: Choices) -> Task[Inverted]:
    """The task that inverts a photo's chosen face.

    Raises:
        UsageError: choices that cannot be meant; before anything waits in the queue.
    """
    choices.check()

    def task(report: Report) -> Inverted:
        started = time.perf_counter()
        report(0, 0, "looking for the face")
        aligned = cropped(photo, found, choices.align, studio)
        image = to_tensor(aligned.image)
        masks = mask_of("auto", aligned, photo, studio.network.alignment) if choices.masked else None
        seconds: dict[str, float] = {}
        inversion = invert_images(
            image,
            studio.network,
            preset=choices.preset,
            num_steps=choices.num_steps,
            space=choices.space,
            seed=choices.seed,
            lpips=choices.lpips,
            masks=masks,
            progress=watch(report),
            seconds=seconds,
        )[0].replace(face_to_photo=aligned.face_to_photo, photo=Path(photo.name).name)
        drawn = inversion.tensor(studio.network)
        perceptual = load_perceptual(choices.lpips, studio.network.w_avg.device)
        quality = measure(drawn, image, perceptual, studio.network.alignment if choices.align else None)
        facts = {
            "network": inversion.network,
            "preset": choices.preset,
            "seed": inversion.seed,
            **quality.as_dict(),
            "seconds": {"total": round(time.perf_counter() - started, 2)}
            | {stage: round(value, 2) for stage, value in seconds.items()},
        }
        return Inverted(inversion, aligned.image, to_pixels(drawn)[0], facts)

    return task


def watch(report: Report, prefix: str = "") -> Any:
    """A progress callback for `invert_images` that tells ``report`` of each step, and stops when it says so."""

    def progress(step: Step) -> bool:
        text = prefix + ("fitting the network to the photo" if step.stage == "tune" else "finding the face's latent")
        return report(step.index, step.total, text, picture=lambda: to_pixels(step.images[:1])[0])

    return progress
