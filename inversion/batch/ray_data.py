"""The executor for several machines or GPUs: Ray Data streams photos through a pool of actors.

Scheduling, back-pressure, retries and the restart of lost actors are Ray's. An actor keeps its networks in a process of
its own (workers.py), so that a photo that crashes it is known and passed over, which Ray would try again for ever. Only
the process that runs the batch writes results, so work that is done twice because a machine was lost is written once.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from inversion.batch.inverter import InvertWork
from inversion.batch.requests import Answer, Answers, Request
from inversion.batch.workers import Worker, WorkerCrashError, crashed
from relatent.core import cpu
from relatent.core.errors import MissingPackageError, RelatentError, UsageError

OBJECT_STORE = 500 * 10**6  # bytes; of a cluster that is started here
WAVE = 50_000  # photos given to Ray at once, so that memory does not grow with their number
MOST_IN_BLOCK = 32  # photos of one task, which is what is done again when a machine is lost
LONGEST_PHOTO = 24 * 3600  # seconds without an answer until Ray gives up
CONNECTING = 10  # seconds until a machine that does not answer is given up
TASKS = 8  # tasks for each actor, at least, as long as there are enough photos


class RayExecutor:
    """Inverts on a Ray cluster: one actor for each GPU, or for each processor where there are none.

    Args:
        address: "auto" for the cluster that this machine belongs to, its address, or "local" to start one here.
        work: what is done with the photos; can be pickled.
        count: of actors; None for all GPUs or processors. More than there are let an autoscaling cluster grow.
        photos: "path" if all machines can read the photos at their paths, "store" to send them their content.
        stop: asked between answers; when it returns True, no more are waited for.
    """

    def __init__(
        self,
        address: str,
        work: InvertWork | Any,
        count: int | None = None,
        *,
        photos: str = "path",
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.address, self.work, self.count, self.photos, self.stop = address, work, count, photos, stop

    def answers(self, requests: Iterator[Request | None]) -> Answers:
        """The answers as they come; a None among the requests is passed on.

        Raises:
            MissingPackageError: Ray is not installed.
            RelatentError: there is no such cluster, or the actors cannot load what they need.
        """
        ray = _ray()
        started = not ray.is_initialized()
        if started:
            self._connect(ray)
        try:
            while wave := [request for request in islice(requests, WAVE) if request is not None]:
                yield None
                for answers in self._wave(ray, wave):
                    yield from answers
                    if self.stop():
                        return
        finally:
            if started:
                ray.shutdown()

    def _connect(self, ray: Any) -> None:
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            if self.address == "local":
                os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
                count = self.count or cpu.processors()
                ray.init(
                    address="local", num_cpus=count, include_dashboard=False, object_store_memory=OBJECT_STORE, **quiet
                )
            else:
                _require_listening(self.address)
                ray.init(address=self.address, **quiet)
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise UsageError(
                f"--ray is {self.address!r:.80}, and there is no such Ray cluster ({_first_line(error)}). "
                "Start one with: ray start --head"
            ) from error

    def _wave(self, ray: Any, wave: list[Request]) -> Iterator[list[Answer]]:
        """Answers to some requests, in the groups in which tasks end."""
        import ray.data as data

        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_no_progress_timeout_s = LONGEST_PHOTO
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        resources = ray.cluster_resources()
        gpus = 0 if getattr(self.work, "device", None) == "cpu" else int(resources.get("GPU", 0))
        count = self.count or gpus or max(1, int(resources.get("CPU", 1)))
        size = self.work.worker_batch_size
        in_block = max(size, min(MOST_IN_BLOCK, len(wave) // (TASKS * count)))
        dataset = data.from_items(
            [{"request": pickle.dumps(request)} for request in wave],
            override_num_blocks=math.ceil(len(wave) / in_block),
        )
        if self.photos == "store":
            dataset = dataset.map_batches(
                _with_content, batch_size=1, batch_format="pyarrow", num_cpus=0, scheduling_strategy=_this_machine(ray)
            )
        dataset = dataset.map_batches(
            Actor,
            fn_constructor_args=[self.work],
            compute=data.ActorPoolStrategy(size=count),
            batch_size=size,
            batch_format="pyarrow",
            num_gpus=1 if gpus else 0,
            num_cpus=0 if gpus else 1,
        )
        try:
            for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                answers = [pickle.loads(one) for one in table["answer"].to_pylist()]  # written by the actors
                for answer in answers:
                    if isinstance(answer, RelatentError):
                        raise answer
                yield answers
        except ray.exceptions.RayError as error:
            raise _as_ours(error) from error


class Actor:
    """What Ray keeps on each GPU or processor: a worker process with its networks loaded."""

    def __init__(self, work: Any) -> None:
        self.work = work
        self.worker = Worker(work)

    def __call__(self, table: Any) -> Any:
        """A column of pickled requests to a column of pickled answers, or to one error that concerns all photos.

        The error is an answer because Ray loses the cause of an exception on its way.
        """
        import pyarrow

        requests = [pickle.loads(one) for one in table["request"].to_pylist()]
        try:
            answers = [pickle.dumps(one) for one in self._answers(requests)]
        except RelatentError as error:
            answers = [pickle.dumps(RelatentError(str(error)))]
        return pyarrow.table({"answer": pyarrow.array(answers, pyarrow.large_binary())})

    def _answers(self, requests: list[Request]) -> list[Answer]:
        try:
            self.worker.give(requests)
            while (answers := self.worker.receive()) is None:
                pass
            return answers
        except WorkerCrashError as crash:
            self.worker.end()
            self.worker = Worker(self.work)
            if len(requests) == 1:
                return [crashed(requests[0], str(crash))]
            return [answer for request in requests for answer in self._answers([request])]


def _with_content(table: Any) -> Any:
    """Requests with the content of their photos, read on the machine that the batch runs on."""
    import pyarrow

    requests = [pickle.loads(one) for one in table["request"].to_pylist()]
    filled = []
    for request in requests:
        try:
            filled.append(replace(request, data=request.path.read_bytes()))
        except OSError:
            filled.append(request)  # the worker says what is wrong
    return pyarrow.table({"request": pyarrow.array([pickle.dumps(one) for one in filled], pyarrow.large_binary())})


def _this_machine(ray: Any) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingPackageError("ray", "ray", "--ray") from error
    return ray


def _as_ours(error: Exception) -> RelatentError:
    """The error of Relatent that an actor has raised, or one that says what Ray says."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RelatentError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    return RelatentError(f"the Ray cluster failed ({_first_line(error)}). Run the same command again to go on.")


def _require_listening(address: str) -> None:
    """Raise OSError if no machine listens at HOST:PORT; Ray itself tries such an address for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():  # others, such as "auto", are Ray's to find
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECTING).close()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")[:300]
