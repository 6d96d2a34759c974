"""How the steps of an optimisation run: eagerly, as a CUDA graph, or compiled.

Launching the hundreds of small operators of a step takes the host longer than a GPU needs to compute them. A CUDA graph
launches them all at once. It replays what it captured on the same memory, so a step that can be captured

- reads and changes tensors that stay where they are,
- draws no random numbers, and never waits for the device,
- does the same operators each time.

:class:`Repeated` runs such a step in any of these ways. On other devices plain calls stand for a graph, so
that the same code runs there.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from relatent.core.device import return_memory
from relatent.core.errors import UnknownNameError

AUTO, EAGER, GRAPH, COMPILE = "auto", "eager", "graph", "compile"
EXECUTIONS = (AUTO, EAGER, GRAPH, COMPILE)
WARM_UP = 2  # eager steps before the capture: they allocate what lasts, and let libraries choose their algorithms
MOST_APART = 0.02  # of a replayed step from the eager one, relative to the length of the step

Outputs = tuple[Tensor, ...]
Step = Callable[[], Outputs]
State = Callable[[], Sequence[Tensor]]


def resolved_execution(name: str, device: torch.device) -> str:
    """Resolve "auto" for ``device``: a graph under CUDA, eager elsewhere; other names are returned unchanged.

    Raises:
        UnknownNameError: there is no such way.
    """
    if name not in EXECUTIONS:
        raise UnknownNameError("execution", name, EXECUTIONS)
    if name != AUTO:
        return name
    return GRAPH if device.type == "cuda" else EAGER


class Repeated:
    """Runs steps that are repeated many times.

    The first ``WARM_UP`` calls of each kind of step run eagerly. The next one captures the step, and is run both ways:
    if the replay fails or differs from the eager step, a warning says so and all steps run eagerly from then on.

    It keeps neither the steps nor their state: these mostly belong to the object that it is part of, and the two would
    keep each other alive, with all their tensors, until the garbage collector comes by.

    Args:
        device: where the steps compute.
        execution: "eager", "graph" or "compile"; what "compile" compiles is the caller's to choose.
    """

    def __init__(self, device: torch.device, execution: str) -> None:
        self.device = device
        self.capturing = execution == GRAPH
        self._calls: dict[Hashable, int] = {}
        self._graphs: dict[Hashable, _Graph] = {}
        self._stream = torch.cuda.Stream(device) if self.capturing and device.type == "cuda" else None

    def run(self, step: Step, state: State, kind: Hashable = None) -> Outputs:
        """Run ``step`` once; steps of the same ``kind`` do the same operators on the same tensors.

        Args:
            step: the step.
            state: the tensors that a step changes; compared and restored when a graph is checked.
            kind: of the step.

        Returns:
            What the step returned, in tensors that later steps do not change.
        """
        if not self.capturing:
            return step()
        if kind in self._graphs:
            return self._graphs[kind].replay(step)
        calls = self._calls[kind] = self._calls.get(kind, 0) + 1
        return self._eager(step) if calls <= WARM_UP else self._captured(step, state, kind)

    def run_eagerly(self, step: Step) -> Outputs:
        """Run ``step`` as a warm-up does: for a first step that does other operators than the rest."""
        return self._eager(step)

    def _eager(self, step: Step) -> Outputs:
        """A step on the stream of the graphs, so that no tensor belongs to another one."""
        if self._stream is None:
            return step()
        here = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            outputs = step()
        here.wait_stream(self._stream)
        return outputs

    def _captured(self, step: Step, state: State, kind: Hashable) -> Outputs:
        """Run a step eagerly, capture it, and replay it from the same state; keep the graph if both agree."""
        before = [tensor.clone() for tensor in state()]
        outputs = [tensor.clone() for tensor in self._eager(step)]
        after = [tensor.clone() for tensor in state()]
        _set(state(), before)
        try:
            graph = _Graph(step, self._stream, self.device)
            replayed = graph.replay(step)
        except RuntimeError as error:
            self._give_up(f"it could not be captured ({str(error).splitlines()[0]:.200})")
            _set(state(), after)
            return tuple(outputs)
        if not _agree(before, after, state()) or not _close(outputs, replayed):
            self._give_up("its replay differs from the eager step")
            _set(state(), after)
            return tuple(outputs)
        self._graphs[kind] = graph
        return replayed

    def _give_up(self, reason: str) -> None:
        self.capturing = False
        self._graphs.clear()
        return_memory(self.device)  # what a capture may have taken
        warnings.warn(f"the steps run eagerly, without a CUDA graph: {reason}.", stacklevel=4)


class _Graph:
    """One captured step. Without a stream, a plain call stands for the replay.

    Args:
        step: the step; not run by the capture.
        stream: to capture on, the one of the warm-up; None for no capture.
        device: of the stream.
    """

    def __init__(self, step: Step, stream: Any, device: torch.device) -> None:
        self._outputs: Outputs = ()
        self._graph: Any = None
        if stream is None:
            return
        torch.cuda.synchronize(device)
        return_memory(device)  # the graph has its own memory, as much as eager steps have kept
        self._graph = torch.cuda.CUDAGraph()
        # Another thread may use the device meanwhile, as the page's do: that is no error of this one.
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
            self._outputs = step()

    def replay(self, step: Step) -> Outputs:
        """Run the step, which is the captured one; its outputs are copied, as the next replay overwrites them."""
        if self._graph is None:
            self._outputs = step()
        else:
            self._graph.replay()
        return tuple(tensor.clone() for tensor in self._outputs)


def _agree(before: Sequence[Tensor], after: Sequence[Tensor], now: Sequence[Tensor]) -> bool:
    """Whether the state is now close to ``after``, relative to the distance from ``before``."""
    moved = [_apart(a, b) for a, b in zip(before, after, strict=True)]
    apart = [_apart(b, c) for b, c in zip(after, now, strict=True)]
    scale = [b.nan_to_num(posinf=0.0).float().norm() * 1e-5 for b in after]  # rounding where little moves
    fine = [a <= MOST_APART * m + s for a, m, s in zip(apart, moved, scale, strict=True)]
    return bool(torch.stack(fine).all())


def _set(state: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for place, value in zip(state, values, strict=True):
        place.copy_(value)


def _close(expected: Sequence[Tensor], actual: Sequence[Tensor]) -> bool:
    pairs = zip(expected, actual, strict=True)
    return all(bool(_apart(a, b) <= MOST_APART * a.float().norm() + 1e-6) for a, b in pairs)


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """Length of the difference, []; equal values differ by 0, infinity too."""
    return torch.where(a == b, 0.0, (a - b).float()).norm()
