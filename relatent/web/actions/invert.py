"""Inversion of a face as a task for the queue."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from inversion import Inversion, InvertConfig
from inversion.optim.projector import Step
from inversion.pipeline import Pipeline
from relatent.core.images import Photo, to_pixels
from relatent.web.actions.faces import DetectedFaces
from relatent.web.queue import Report, Task
from relatent.web.state import AppState


@dataclass(frozen=True)
class Inverted:
    """The result of the task.

    Attributes:
        inversion: with the face's position in the photo.
        aligned: the inverted crop, uint8 [R, R, 3].
        drawn: the picture of the inversion, uint8 [R, R, 3].
        facts: measures and seconds.
    """

    inversion: Inversion
    aligned: np.ndarray
    drawn: np.ndarray
    facts: dict[str, Any]


def inverting(app: AppState, photo: Photo, found: DetectedFaces | None, config: InvertConfig) -> Task[Inverted]:
    """The task that inverts one face of a photo, ``config.face``.

    Args:
        app: the shared state.
        photo: the photo.
        found: its detected faces; None to detect them.
        config: of the inversion.
    """

    def task(report: Report) -> Inverted:
        started = time.perf_counter()
        report(0, 0, "looking for the face")
        pipeline = Pipeline(app.network, config)
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
    """A progress callback of the projector that calls ``report`` at each step, and cancels if it returns False."""

    def progress(step: Step) -> bool:
        text = prefix + ("fitting the network to the photo" if step.stage == "tune" else "finding the face's latent")
        return report(step.index, step.total, text, picture=lambda: to_pixels(step.images[:1])[0])

    return progress
