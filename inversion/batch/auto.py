"""Chooses between inverting here and in worker processes, when it is known how much there is to do."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import torch

from inversion.batch.here import Here
from inversion.batch.inverter import Inverter
from inversion.batch.requests import Answers, Request
from inversion.batch.workers import Workers
from inversion.batch_size import LARGEST
from relatent.core import cpu

ENOUGH = 8  # photos; fewer are done before worker processes have started
MOST_READERS = 8  # processes that read and align for one GPU


class Auto:
    """Inverts a few photos in this process, and more in as many as there are processors.

    On a CPU, each process inverts photos of its own in one thread. With a GPU, this process inverts, and the others
    read and align. Large networks on a CPU use all its threads in this process.
    """

    def __init__(self, inverter: Inverter) -> None:
        self.inverter = inverter

    def answers(self, requests: Iterator[Request | None]) -> Answers:
        """The answers to requests."""
        first: list[Request | None] = []
        while len(first) < ENOUGH:
            try:
                request = next(requests)
            except StopIteration:
                break
            if request is None:
                yield None
            else:
                first.append(request)
        yield from self._executor(len(first)).answers(chain(first, requests))

    def _executor(self, count: int) -> Here | Workers:
        work, device = self.inverter.work, self.inverter.pipeline.network.w_avg.device
        workers = single_workers(count, device, work.size)
        if workers:
            return Workers(workers, work, work.worker_batch_size)
        if count < ENOUGH:
            return Here(self.inverter)
        processors = cpu.processors()
        return Here(self.inverter, min(processors - 1, 1 if device.type == "cpu" else MOST_READERS))


def single_workers(count: int, device: torch.device, resolution: int) -> int:
    """Processes that each do the whole work in one thread; 0 where this process does it.

    Args:
        count: of photos or edits, at least as far as ``ENOUGH``.
        device: of the networks.
        resolution: of the network, in pixels.
    """
    processors = cpu.processors()
    alone = count >= ENOUGH and processors > 1 and device.type == "cpu" and resolution <= LARGEST
    return processors if alone else 0
