"""What a batch asks of whatever does the work (this process, worker processes, Ray), and what comes back.

Requests and answers are pickled between processes. Answers hold the bytes of the result files: only the process that
runs the batch writes to OUT.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from inversion.optim.projector import Step
from relatent.core.images import MAX_PIXELS


@dataclass(frozen=True)
class Request:
    """A photo to be inverted.

    Attributes:
        key: number of the photo in the manifest.
        path: its file.
        sha256: of its content; empty if whoever reads it is to compute it.
        done: numbers of the faces that are not to be inverted.
        data: the bytes of the file, where it cannot be read at ``path``; None to read it.
    """

    key: int
    path: Path
    sha256: str = ""
    done: frozenset[int] = frozenset()
    data: bytes | None = None


@dataclass(frozen=True)
class FaceFiles:
    """The result of one face.

    Attributes:
        number: of the face in its photo, counted from 1.
        files: contents by name.
        report: the content of report.json.
        line: the measures in a line of text.
        note: a remark for the user; may be empty.
        thumbnail: a JPEG of the aligned face beside the result.
    """

    number: int
    files: dict[str, bytes]
    report: dict[str, object]
    line: str
    note: str = ""
    thumbnail: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What became of a photo, or of some of its faces.

    Attributes:
        key: of the request.
        sha256: of the photo.
        error: why the photo failed; empty if it did not.
        numbers: of all faces that were asked for, whether they were inverted or not.
        found: number of faces found in the photo; None if they were not looked for.
        faces: results.
        left: number of faces that are still to come in further answers.
    """

    key: int
    sha256: str = ""
    error: str = ""
    numbers: tuple[int, ...] = ()
    found: int | None = None
    faces: list[FaceFiles] = field(default_factory=list)
    left: int = 0


@dataclass(frozen=True)
class Outcome:
    """The outcome of one face.

    Attributes:
        status: "done", "skipped" if an earlier run has finished it, or "failed".
        message: the measures, or the error message.
        photo: the file; None if the input was an error.
        folder: of the results; None if it failed.
        note: a remark on how the photo was read; may be empty.
    """

    status: str
    message: str
    photo: Path | None = None
    folder: Path | None = None
    note: str = ""


OnStep = Callable[[Sequence[str], Step], object]  # gets the names of the photos and the step; False cancels
Answers = Iterator[Answer | None]  # None: nothing yet, the caller may look at something else


class Opened(Protocol):
    """Work with everything loaded that it needs."""

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """Do what is asked; an error of a photo is part of its answer."""
        ...


class Work(Protocol):
    """What is to be done with photos; can be pickled."""

    settings: dict[str, object]
    worker_batch_size: int
    max_pixels: int = MAX_PIXELS

    def open(self) -> Opened:
        """Load networks and whatever else is needed."""
        ...


class Executor(Protocol):
    """Answers requests, in any order, reading them as it can take more."""

    def answers(self, requests: Iterator[Request | None]) -> Answers:
        """The answers; a None among the requests is passed on."""
        ...
