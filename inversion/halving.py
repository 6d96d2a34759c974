"""Halves a batch of photos that does not fit into a device's memory."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from inversion.optim.projector import Progress, Step, forget_captured_steps
from inversion.stages import PlanResult, joined
from relatent.core.device import device_errors, return_memory
from relatent.core.errors import DeviceError

Run = Callable[[Tensor, Tensor | None, Progress | None], PlanResult]


def in_parts(
    run: Run, images: Tensor, masks: Tensor | None, progress: Progress | None, device: torch.device
) -> PlanResult:
    """Run on all photos together, or on halves of them one after the other, and so on, if memory is too small.

    Args:
        run: what to do, with some of the images and masks and a callback.
        images: [N, 3, R, R].
        masks: [N, 1, R, R] or None.
        progress: of all photos.
        device: where ``run`` computes.

    Raises:
        DeviceError: there is too little memory for one photo.
    """
    try:
        with device_errors():
            return run(images, masks, progress)
    except DeviceError as error:
        if len(images) == 1 or not isinstance(error.__cause__, torch.OutOfMemoryError):
            raise
    forget_captured_steps()  # here, where no traceback holds the tensors of the step that failed
    return_memory(device)
    half = (len(images) + 1) // 2
    warnings.warn(
        f"{len(images)} photos together need more memory than {device} has free; going on with {half} together. "
        f"A --batch-size of {half} avoids the attempt.",
        stacklevel=4,
    )
    parts = [slice(0, half), slice(half, len(images))]
    results = [
        in_parts(
            run,
            images[part],
            None if masks is None else masks[part],
            _progress_of_part(progress, number, part),
            device,
        )
        for number, part in enumerate(parts)
    ]
    return joined(results)


def _progress_of_part(progress: Progress | None, number: int, part: slice) -> Progress | None:
    """A callback for one of two halves of the photos that numbers steps through both."""
    if progress is None:
        return None

    def show(step: Step) -> object:
        return progress(
            dataclasses.replace(
                step, index=number * step.total + step.index, total=2 * step.total, first=part.start + step.first
            )
        )

    return show
