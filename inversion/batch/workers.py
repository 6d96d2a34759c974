"""Worker processes, each of which works on one chunk of requests at a time.

The standard library's pools do not say which task a worker died of; here each worker has a pipe of its own, so a photo
that crashes its worker is known, and the worker is replaced. A worker ends when its parent does: it waits for that in a
thread. Workers get no signal from Ctrl-C; the parent lets them finish.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from inversion.batch.requests import Answer, Request
from relatent.core.errors import RelatentError
from relatent.core.stopping import end_with_parent

READY = "ready"
END: Any = object()
PATIENCE = 5.0  # seconds a worker has to end when it is told to


class Worker:
    """One process, started at once and ready some seconds later.

    Args:
        work: what it does; :meth:`open` is called in the process.
    """

    def __init__(self, work: Any) -> None:
        context = multiprocessing.get_context("spawn")  # a forked process would inherit locks of running threads
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()  # else the end of the process would not show
        self.requests: list[Request] = []
        self.ready = False
        self._send(work)

    def give(self, requests: list[Request]) -> None:
        """Let the process work on requests; it must have none."""
        self.requests = requests
        self._send(requests)

    def receive(self) -> list[Any] | None:
        """What it has answered; None if it only says that it is ready.

        Raises:
            RelatentError: it could not load what it needs, or ended while doing so.
            WorkerCrashError: it ended while working.
        """
        try:
            message = pickle.loads(self.connection.recv_bytes())  # written by this program
        except (EOFError, OSError):
            how = self._how_it_ended()
            if not self.ready:
                raise RelatentError(
                    f"a worker process ended while it was starting ({how}). Is the memory sufficient? "
                    "Try fewer with --workers, or none with --workers 0. A script of one's own must begin its work "
                    'below if __name__ == "__main__".'
                ) from None
            raise WorkerCrashError(how) from None
        if isinstance(message, RelatentError):
            raise message
        if message == READY:
            self.ready = True
            return None
        self.requests = []
        return list(message)

    def end(self) -> None:
        """End the process, at once if it is at work."""
        self.connection.close()
        if self.requests or not self.ready:
            self.process.kill()
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def _send(self, message: object) -> None:
        # Not Connection.send: PyTorch makes that share the memory of tensors, which is lost with a killed process.
        with suppress(OSError):  # it has ended; receive() tells
            self.connection.send_bytes(pickle.dumps(message))

    def _how_it_ended(self) -> str:
        self.process.join(PATIENCE)
        code = self.process.exitcode
        if code is not None and code < 0:
            with suppress(ValueError):
                return signal.Signals(-code).name
        return f"exit code {code}"


class WorkerCrashError(Exception):
    """A worker has ended while it was working; the text says how."""


class Workers:
    """An executor of several processes.

    Args:
        count: of processes; fewer are started if there is less to do.
        work: what they do; can be pickled, and has ``open()``, whose result has ``answer(requests)``.
        size: requests given to a worker at once.
    """

    def __init__(self, count: int, work: Any, size: int = 1) -> None:
        self.count, self.work, self.size = count, work, size

    def answers(self, requests: Iterator[Request | None]) -> Iterator[Any]:
        """The answers as they come; a None among the requests is passed on.

        Raises:
            RelatentError: a worker cannot load what it needs.
        """
        idle: list[Worker] = []
        busy: dict[Connection, Worker] = {}
        alone: deque[Request] = deque()  # of chunks that crashed a worker: which of them it was shows one by one
        more = True
        try:
            while True:
                while (more or alone) and len(busy) < self.count:
                    single = bool(alone)
                    chunk = [alone.popleft()] if single else []
                    while more and not single and len(chunk) < self.size:
                        request = next(requests, END)
                        if request is None:
                            yield None
                        elif request is END:
                            more = False
                        else:
                            chunk.append(request)
                    if not chunk:
                        break
                    worker = idle.pop() if idle else Worker(self.work)
                    busy[worker.connection] = worker
                    worker.give(chunk)
                if not busy:
                    return
                for connection in wait(list(busy)):
                    worker = busy[connection]  # type: ignore[index]
                    try:
                        answers = worker.receive()
                    except WorkerCrashError as crash:
                        del busy[worker.connection]
                        chunk = worker.requests
                        worker.end()
                        if len(chunk) > 1:
                            alone += chunk
                        else:
                            yield crashed(chunk[0], str(crash))
                        continue
                    if answers is not None:
                        del busy[worker.connection]
                        idle.append(worker)
                        yield from answers
        finally:
            for worker in (*idle, *busy.values()):
                worker.end()


def crashed(request: Request, how: str) -> Answer:
    """The answer to a request that a worker died of."""
    return Answer(request.key, request.sha256, f"{request.path} crashed the worker process that read it ({how}).")


def _serve(connection: Connection) -> None:
    """The main function of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    use_one_thread()
    try:
        opened = pickle.loads(connection.recv_bytes()).open()
    except RelatentError as error:
        connection.send_bytes(pickle.dumps(error))
        return
    except EOFError:
        return
    connection.send_bytes(pickle.dumps(READY))
    with suppress(EOFError, OSError):  # the parent has closed the pipe: nothing more to do
        while True:
            connection.send_bytes(pickle.dumps(answered(opened, pickle.loads(connection.recv_bytes()))))


def answered(opened: Any, requests: Sequence[Request]) -> list[Any]:
    """Answers to requests; where an exception is a bug, that of the photo that it concerns says so."""
    try:
        return list(opened.answer(requests))
    except Exception as error:  # a batch of thousands is not to end at one photo
        if len(requests) > 1:
            return [answer for request in requests for answer in answered(opened, [request])]
        (request,) = requests
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return [Answer(request.key, request.sha256, f"{request.path}: unexpected {what}. Please report this.")]


def use_one_thread() -> None:
    """Let PyTorch and OpenCV compute in one thread; as many processes as processors are faster than many threads."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
