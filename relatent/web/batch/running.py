"""A batch at work: it belongs to the visitor's session, not to the browser's connection, and survives a reload."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from relatent.core.errors import BusyError, Cancelled
from relatent.web.batch.run import Batch, Row
from relatent.web.queue import Job, JobQueue, Progress
from relatent.web.session import Session

RETRY_SECONDS = 1.0  # between attempts to enter a full queue


class RunningBatch:
    """A batch that is worked off in a thread, each photo as a job of its own, so that jobs of others run in between.

    Args:
        batch: the photos.
        folder: of their files, deleted at the end.
        pack: makes the file of all results, or None if there are none.
        remark: a sentence for the end.

    Attributes:
        index: of the photo at work.
        waiting: whether the queue is full.
        results: the file of all results; None before the end, or if there are none.
        error: an error that ended the batch; None if there was none.
        ended: when that was, as time.monotonic; None while it is at work.
    """

    def __init__(
        self, batch: Batch, folder: Path, pack: Callable[[tuple[Row, ...]], Path | None], remark: str = ""
    ) -> None:
        self.batch, self.folder, self.pack, self.remark = batch, folder, pack, remark
        self.index, self.waiting = 0, False
        self.results: Path | None = None
        self.error: Exception | None = None
        self._job: Job[None] | None = None
        self.ended: float | None = None
        self._cancelled, self._finished = threading.Event(), threading.Event()

    def start(self, queue: JobQueue, session: Session) -> None:
        """Begin; the session keeps it as its ``batch``.

        Raises:
            BusyError: the queue is full, or the session has an unfinished job or batch.
        """
        if session.batch is not None and session.batch.ended is None:
            raise BusyError("your last batch is still at work. Wait for it, or cancel it first.")
        self._job = self._queued(queue, session, 0)
        session.batch = self
        threading.Thread(target=self._run, args=(queue, session), name="relatent-batch", daemon=True).start()

    def cancel(self) -> None:
        """Stop at the next step; what is done is kept."""
        self._cancelled.set()
        if self._job is not None:
            self._job.cancel()

    def news(self) -> Progress | None:
        """The progress of the photo at work; None where there is none."""
        return None if self._job is None or self.waiting else self._job.news()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the end; returns whether it has come."""
        return self._finished.wait(seconds)

    def _run(self, queue: JobQueue, session: Session) -> None:
        try:
            try:
                for index in range(len(self.batch.photos)):
                    self.index = index
                    if index:
                        self._job = self._next(queue, session)
                    if self._job is not None:
                        self._job.result()
            except Cancelled:
                self.batch.cancel()
            if session.batch is self:  # else the session has ended, and nothing is kept
                self.results = self.pack(self.batch.rows())
        except Exception as error:  # shown to the visitor
            self.error = error
        finally:
            self._job = None
            shutil.rmtree(self.folder, ignore_errors=True)
            self.ended = time.monotonic()
            self._finished.set()

    def _next(self, queue: JobQueue, session: Session) -> Job[None]:
        """The job of the photo at ``index``, as soon as the queue takes it.

        Raises:
            Cancelled: the batch was cancelled.
        """
        while not self._cancelled.is_set():
            try:
                job = self._queued(queue, session, self.index)
            except BusyError:
                self.waiting = True
                self._cancelled.wait(RETRY_SECONDS)
            else:
                self.waiting = False
                if self._cancelled.is_set():  # meanwhile
                    job.cancel()
                return job
        raise Cancelled("the batch was cancelled; what was done before is kept.")

    def _queued(self, queue: JobQueue, session: Session, index: int) -> Job[None]:
        def task(report: Any) -> None:
            def watch(_: tuple[Row, ...]) -> object:
                row = self.batch.of_photo[index][0]
                return report(row.step, row.total, "inverting", details=row.loss)

            self.batch.take(index, watch)

        return queue.start(task, session)
