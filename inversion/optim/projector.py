"""The projector: optimises latents and noise maps to match photos (Karras et al. 2020, appendix D).

Photos of a batch are independent: losses are summed, steps are each photo's own, and all start from the same noise.
Only rounding depends on the batch size, and the steps amplify it (docs/project.md, batches).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from inversion.losses.loss import Target
from inversion.optim.optimisation import Latents, Optimisation
from inversion.optim.preconditioner import Preconditioner
from inversion.presets import OptimiserSettings
from relatent.core.device import Pace
from relatent.core.errors import Cancelled, CheckpointError
from relatent.core.execution import EAGER
from stylegan.networks.generator import Generator


@dataclass(frozen=True)
class Step:
    """One step, as passed to a progress callback. Tensors are on the device, so reading them synchronises with it.

    Attributes:
        index: 1 for the first.
        total: number of steps.
        losses: this step's distance to each photo, [N].
        images: the pictures drawn at this step, [N, 3, R, R].
        stage: "optimise" or "tune".
        first: place in the batch of the first photo of ``losses`` and ``images``.
    """

    index: int
    total: int
    losses: Tensor
    images: Tensor
    stage: str = "optimise"
    first: int = 0


Progress = Callable[[Step], object]


def optimise(
    network: Generator,
    target: Target,
    settings: OptimiserSettings,
    *,
    seed: int,
    start: Tensor | None = None,
    preconditioner: Preconditioner | None = None,
    progress: Progress | None = None,
    execution: str = EAGER,
) -> tuple[Latents, Tensor]:
    """Fit latents and noise to the target's photos.

    Args:
        network: a frozen generator, on the target's device.
        target: the photos.
        settings: steps, rates and loss weights.
        seed: of the noise; every photo gets the same, so that its index in the batch does not matter.
        start: ws to start from, [N, L, w_dim]; None for ``w_avg``.
        preconditioner: the network's, on its device; required if ``settings.lbfgs`` is given.
        progress: called after each step; returning False cancels.
        execution: "eager", "graph" or "compile"; see relatent/core/execution.py.

    Returns:
        The latents and each photo's loss, [N].

    Raises:
        Cancelled: the callback returned False.
        CheckpointError: the loss is not finite, which happens only with a damaged network.
    """
    task = _kept.take(network, target, settings, preconditioner, execution)
    task.begin(target, settings.num_steps, seed, start)
    pace = Pace(network.w_avg.device)
    try:
        for index in range(settings.num_steps):
            losses, drawn = task.advance()
            pace.step_launched()
            if progress and progress(Step(index + 1, settings.num_steps, losses, drawn)) is False:
                raise Cancelled(f"cancelled at step {index + 1} of {settings.num_steps}; nothing was written.")
        latents, losses = task.finish()
    except Cancelled:
        _kept.put(task)
        raise
    _kept.put(task)
    if not bool(losses.isfinite().all()):
        raise CheckpointError("the network draws values that are not finite. Use another checkpoint of it.")
    return latents, losses


class _Kept:
    """The last optimisation that was captured or compiled, for the next photos of the same kind.

    Only one is kept, as it holds the memory of a step.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._task: Optimisation | None = None

    def take(
        self,
        network: Generator,
        target: Target,
        settings: OptimiserSettings,
        preconditioner: Preconditioner | None,
        execution: str,
    ) -> Optimisation:
        """The kept optimisation if it fits, which nobody else then has, or a new one."""
        if execution == EAGER:
            return Optimisation(network, target, settings, preconditioner)
        with self._lock:
            task, self._task = self._task, None
        if task is not None and task.fits(network, target, settings, preconditioner, execution):
            return task
        del task  # its memory is free before the next one is built
        return Optimisation(network, target, settings, preconditioner, execution)

    def put(self, task: Optimisation) -> None:
        """Keep an optimisation that has ended; eager ones have nothing to keep."""
        if task.kept_for_more:
            with self._lock:
                self._task = task

    def forget(self) -> None:
        """Free the memory of what is kept."""
        with self._lock:
            self._task = None


_kept = _Kept()
forget_captured_steps = _kept.forget


def split(latents: Latents, num_ws: int) -> Sequence[tuple[Tensor, tuple[Tensor, ...]]]:
    """Each photo's ws [1, L, w_dim] and noise maps [1, 1, r, r], on the CPU."""
    ws = latents.ws(num_ws).detach().cpu()
    noise = [level.detach().cpu() for level in latents.noise]
    return [
        (ws[i : i + 1].contiguous(), tuple(level[i : i + 1].contiguous() for level in noise)) for i in range(len(ws))
    ]
