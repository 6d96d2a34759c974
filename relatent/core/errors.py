"""The exceptions that Relatent raises deliberately.

    RelatentError
    ├── UsageError                  an invalid request (exit code 2)
    │   ├── UnknownNameError        a name that is not in a list of known ones
    │   ├── MissingPackageError     an optional package is needed and not installed
    │   └── MissingWeightsError     weights are needed that are not on this machine
    ├── ShapeError                  a tensor or array of the wrong shape, range or type
    ├── PhotoError                  one picture cannot be used; others still can
    │   ├── UnreadablePhotoError    not a picture, damaged, or too large
    │   └── FaceNotFoundError       a picture without a usable face
    ├── DatasetError                training data cannot be used
    ├── CheckpointError             a file is damaged, hostile, or not of the expected format
    ├── WeightsError                weights differ from what was published or first downloaded
    │   └── DownloadError           weights cannot be downloaded
    ├── OutputError                 results cannot be written
    │   └── NoSpaceError            because the disk is full
    ├── DeviceError                 a device has too little memory, lacks an operator, or failed
    ├── BusyError                   the queue is full
    └── Cancelled                   a progress callback returned False

A message says what came, what was expected and what to do next. Commands print it in one line and exit with
``exit_code``. No input of a user should end in a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class RelatentError(Exception):
    """Base class; ``str(error)`` is one line, meant for the user."""

    exit_code = 1

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())  # file names and messages of libraries may contain line breaks

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments without ``__init__``, whose signature differs between subclasses.

        Needed by batches that run in several processes.
        """
        return _rebuilt, (type(self), self.args), self.__dict__


def _rebuilt(kind: type[RelatentError], args: tuple[Any, ...]) -> RelatentError:
    return kind.__new__(kind, *args)  # BaseException keeps its args there, without __init__


class UsageError(RelatentError):
    """An invalid request."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that is not in a list of known ones; the message suggests similar names.

    Args:
        kind: kind of the name, for example ``"network"``.
        name: the unknown name.
        known: all valid names.
        advice: a sentence on what else is accepted.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], advice: str = "") -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        tail = f" {advice}" if advice else ""
        super().__init__(f"unknown {kind} {name!r}: {hint}Known: {', '.join(names) or 'none'}.{tail}")


class MissingPackageError(UsageError):
    """A package is not installed; the message names the extra that contains it, if it is an optional one."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        what = f'".[{extra}]"' if extra else "."
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed. Install it with: pip install -e {what}"
        )


class MissingWeightsError(UsageError):
    """Weights are needed that are not on this machine; the message names the command that fetches them."""


class ShapeError(RelatentError, ValueError):
    """A tensor or array whose shape, dtype or range is not the documented one."""


class PhotoError(RelatentError):
    """One picture that cannot be used."""


class UnreadablePhotoError(PhotoError):
    """A file that is not a picture, is damaged, or too large."""


class FaceNotFoundError(PhotoError):
    """A picture in which no usable face was found."""


class DatasetError(RelatentError):
    """Training data that cannot be used."""


class CheckpointError(RelatentError):
    """A network file, or another file of Relatent, that cannot be read."""


class WeightsError(RelatentError):
    """Weights that differ from what was published or first downloaded, or whose records are damaged."""


class DownloadError(WeightsError):
    """Weights that cannot be downloaded."""


class OutputError(RelatentError):
    """Results that cannot be written."""


class NoSpaceError(OutputError):
    """Results that cannot be written because the disk is full; so would be all that follow."""


class DeviceError(RelatentError):
    """A device that has too little memory, lacks an operator, or failed."""


class BusyError(RelatentError):
    """The queue is full; the same request may succeed later."""


class Cancelled(RelatentError):  # noqa: N818 - not an error of the user
    """Work was stopped because the progress callback returned False."""

    exit_code = 130
