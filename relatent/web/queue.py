"""The queue of long jobs: runs one at a time, in order of arrival, with progress reports and cancellation.

The task of a job is a function of one argument, the `Report`. It calls that at every step and stops if it returns
False::

    def task(report: Report) -> Inversion:
        return invert_images(..., progress=lambda step: report(step.index, step.total, picture=lambda: draw(step)))[0]

    job = app.queue.start(task, session)       # BusyError: the queue is full, or this session has a job in it
    async for news in follow(job):                # about twice a second, in a handler `async def`
        yield show(news)                          # news.ahead > 0: still waiting
    inversion = job.result()                      # raises what the task raised; Cancelled after session.cancel()

The task runs in a thread that holds `app.network_lock.long()`, so it must not acquire the lock itself. Leaving the
loop early, for example because the browser was closed, cancels the job.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from relatent.core.errors import BusyError, Cancelled
from relatent.web.network_lock import NetworkLock

T = TypeVar("T")
PICTURE_SECONDS = 0.8  # shortest time between two preview pictures
NEWS_SECONDS = 0.4  # news come no more often


@dataclass(frozen=True)
class Progress:
    """The progress of a job.

    Attributes:
        ahead: number of jobs before it in the queue; 0 while it runs.
        done: steps that are done.
        total: all steps; 0 while unknown.
        seconds_left: estimated from the steps so far; None while unknown.
        text: description of the current stage.
        picture: the latest preview, uint8 [H, W, 3]; None if there is none yet.
        details: further data that the task reported, for its own use.
    """

    ahead: int = 0
    done: float = 0
    total: float = 0
    seconds_left: float | None = None
    text: str = ""
    picture: np.ndarray | None = None
    details: Any = None


class Report(Protocol):
    """The callback with which a task reports progress; if it returns False, the task must stop."""

    def __call__(
        self,
        done: float,
        total: float,
        text: str = "",
        *,
        picture: Callable[[], np.ndarray] | None = None,
        details: Any = None,
    ) -> bool: ...


Task = Callable[[Report], T]


class Job(Generic[T]):
    """One task in the queue."""

    def __init__(self, task: Task[T], queue: JobQueue, picture_seconds: float) -> None:
        self._task, self._queue, self._picture_seconds = task, queue, picture_seconds
        self._cancelled, self._finished = threading.Event(), threading.Event()
        self._result: T | None = None
        self._error: BaseException | None = None
        self._news = Progress()
        self._started = self._pictured = self._before = 0.0

    @property
    def finished(self) -> bool:
        return self._finished.is_set()

    def news(self) -> Progress:
        """The current progress."""
        ahead = self._queue.ahead(self)
        return Progress(ahead=ahead) if ahead else self._news

    def cancel(self) -> None:
        """Request the job to stop; a waiting job never starts."""
        self._cancelled.set()
        self._queue.wake()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the job has ended; returns whether it has."""
        return self._finished.wait(seconds)

    def result(self) -> T:
        """Wait for the job, and return the result of the task.

        Raises:
            Cancelled: the job was cancelled.
            RelatentError: raised by the task.
        """
        self.wait()
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]

    def run(self) -> None:
        """Run the task; called once by the queue, in the job's thread."""
        self._started = time.monotonic()
        try:
            if self._cancelled.is_set():
                raise Cancelled("cancelled before it began; nothing was written.")
            self._result = self._task(self._report)
        except BaseException as error:  # raised again by result()
            self._error = error

    def end(self) -> None:
        """Mark the job as finished."""
        self._finished.set()

    @property
    def given_up(self) -> bool:
        return self._cancelled.is_set()

    def _report(
        self,
        done: float,
        total: float,
        text: str = "",
        *,
        picture: Callable[[], np.ndarray] | None = None,
        details: Any = None,
    ) -> bool:
        self._queue.network_lock.pause()
        now = time.monotonic()
        shown = self._news.picture
        if done < self._news.done or text != self._news.text:
            self._started, self._before = now, done  # a new stage, whose steps take a different time
        if picture is not None and now - self._pictured >= self._picture_seconds:
            shown, self._pictured = picture(), now
        since = done - self._before
        left = (now - self._started) / since * (total - done) if since > 0 else None
        self._news = Progress(0, done, total, left, text, shown, details)
        return not self._cancelled.is_set()


class JobQueue:
    """The queue of jobs that use the network, in order of arrival.

    Args:
        most: largest number of jobs, including the running one.
        network_lock: of the network.
    """

    def __init__(self, most: int, network_lock: NetworkLock) -> None:
        self.most, self.network_lock = most, network_lock
        self._jobs: list[Job[Any]] = []
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._jobs)

    def start(self, task: Task[T], session: Owner | None = None, picture_seconds: float = PICTURE_SECONDS) -> Job[T]:
        """Append a task to the queue; it starts when the jobs before it have finished.

        Args:
            task: the work.
            session: its owner, which can cancel it.
            picture_seconds: shortest time between two preview pictures.

        Raises:
            BusyError: the queue is full, or the session has an unfinished job.
        """
        job = Job(task, self, picture_seconds)
        with self._changed:
            if session is not None and session.job is not None and not session.job.finished:
                raise BusyError("your last request is still at work. Wait for it, or cancel it first.")
            if len(self._jobs) >= self.most:
                raise BusyError(
                    f"{len(self._jobs)} requests are waiting already, and this page takes at most {self.most}. "
                    "Try again in a minute."
                )
            self._jobs.append(job)
            if session is not None:
                session.job = job
        threading.Thread(target=self._carry_out, args=(job,), name="relatent-job", daemon=True).start()
        return job

    def ahead(self, job: Job[Any]) -> int:
        """Number of jobs before this one; 0 if it is running or finished."""
        with self._changed:
            return self._jobs.index(job) if job in self._jobs else 0

    def wake(self) -> None:
        """Wake waiting jobs, so that they notice their cancellation."""
        with self._changed:
            self._changed.notify_all()

    def _carry_out(self, job: Job[Any]) -> None:
        try:
            with self._changed:
                self._changed.wait_for(lambda: job.given_up or self._jobs[0] is job)
            if job.given_up:
                job.run()  # only records its Cancelled
            else:
                with self.network_lock.long():
                    job.run()
        finally:
            with self._changed:
                self._jobs.remove(job)
                self._changed.notify_all()
            job.end()


class Owner(Protocol):
    """The owner of at most one job: a session."""

    job: Job[Any] | None


async def follow(job: Job[Any], seconds: float = NEWS_SECONDS) -> AsyncIterator[Progress]:
    """Yields the progress of a job about every ``seconds`` until it has ended, without blocking a thread.

    If the consumer stops early, the job is cancelled.

    Raises:
        Cancelled: the job was cancelled. It may still be busy with its step, for which nobody has to wait.
    """
    try:
        while not job.finished:
            yield job.news()
            waited = 0.0
            while waited < seconds and not job.finished:
                if job.given_up:
                    raise Cancelled("cancelled; nothing was kept.")
                await asyncio.sleep(0.05)
                waited += 0.05
        yield job.news()
    finally:
        if not job.finished:
            job.cancel()
