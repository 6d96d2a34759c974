"""One photo's chosen face into the latent space, as a task for the queue. Knows no gradio."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from inversion import Inversion, InvertConfig
from inversion.optim.projector import Step
from inversion.pipeline import Pipeline
from relatent.core.images import Photo, to_pixels
from relatent.web.actions.faces import Found
from relatent.web.queue import Report, Task
from relatent.web.studio import Studio


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


def inverting(studio: Studio, photo: Photo, found: Found | None, config: InvertConfig) -> Task[Inverted]:
    """The task that inverts one face of a photo, ``config.face``.

    Args:
        studio: of the page.
        photo: the photo's pixels.
        found: the faces that were found in it; None where nobody has looked.
        config: how.
    """

    def task(report: Report) -> Inverted:
        started = time.perf_counter()
        report(0, 0, "looking for the face")
        pipeline = Pipeline(studio.network, config)
        faces = pipeline.prepare(photo, list(found.faces) if found and found.faces else None)
        (face,) = pipeline.invert(faces[:1], watch(report))
        facts = {
            "network": face.inversion.network,
            "preset": config.preset,
            "seed": config.seed,
            **face.quality.as_dict(),
            "seconds": {"total": round(time.perf_counter() - started, 2)}
            | {stage: round(value, 2) for stage, value in face.seconds.items()},
        }
        return Inverted(face.inversion, face.aligned, to_pixels(face.drawn)[0], facts)

    return task


def watch(report: Report, prefix: str = "") -> Any:
    """A progress callback that tells ``report`` of each step, and stops when it says so."""

    def progress(step: Step) -> bool:
        text = prefix + ("fitting the network to the photo" if step.stage == "tune" else "finding the face's latent")
        return report(step.index, step.total, text, picture=lambda: to_pixels(step.images[:1])[0])

    return progress
