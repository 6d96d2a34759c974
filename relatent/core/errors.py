"""Every error Relatent raises on purpose, in one tree.

    RelatentError
    ├── UsageError                  the request itself cannot be meant (exit code 2)
    │   ├── UnknownNameError        a name outside a known list
    │   ├── MissingPackageError     an optional package is needed and absent
    │   └── MissingWeightsError     weights are needed that are not on this machine
    ├── ShapeError                  a tensor or array of the wrong shape, range or type
    ├── PhotoError                  one picture cannot be used; others still can
    │   ├── UnreadablePhotoError    not a picture, damaged, or too large to be believed
    │   └── FaceNotFoundError       a picture without a usable face
    ├── DatasetError                training data that cannot be used
    ├── CheckpointError             a network file that is damaged, foreign or dishonest
    ├── WeightsError                weights that are not what was published or first seen
    │   └── DownloadError           weights that cannot be fetched
    ├── OutputError                 results that cannot be written
    ├── BusyError                   more work waits already than is taken
    └── Cancelled                   the caller's progress callback asked to stop

A message says what came, what was expected and what to do next. Commands print it in one line and
exit with ``exit_code``; nothing a user can cause ends in a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class RelatentError(Exception):
    """Base of every deliberate error; ``str(error)`` is one line meant for a person."""

    exit_code = 1

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())  # a file name or a foreign message may hold line breaks

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by message: the default would call ``__init__`` with it, and some of ours take other arguments.

        Batches that run in several processes send their errors home this way.
        """
        return _rebuilt, (type(self), self.args), self.__dict__


def _rebuilt(kind: type[RelatentError], args: tuple[Any, ...]) -> RelatentError:
    return kind.__new__(kind, *args)  # BaseException keeps its args there, without __init__


class UsageError(RelatentError):
    """A request that cannot be carried out as worded."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name outside a known list; the message offers the nearest ones.

    Args:
        kind: what is named, for example ``"network"``.
        name: what came.
        known: every valid name.
        advice: what else would have been accepted.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], advice: str = "") -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        tail = f" {advice}" if advice else ""
        super().__init__(f"unknown {kind} {name!r}: {hint}Known: {', '.join(names) or 'none'}.{tail}")


class MissingPackageError(UsageError):
    """An optional package is absent; the message names the extra that brings it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed. "
            f'Install it with: pip install -e ".[{extra}]"'
        )


class MissingWeightsError(UsageError):
    """Weights are needed that are not on this machine; the message names the command that fetches them."""


class ShapeError(RelatentError, ValueError):
    """A tensor or array whose shape, dtype or range is not the documented one."""


class PhotoError(RelatentError):
    """One picture that cannot be used."""


class UnreadablePhotoError(PhotoError):
    """A file that is not a picture, is damaged, or claims a size nobody should believe."""


class FaceNotFoundError(PhotoError):
    """A picture in which no usable face was found."""


class DatasetError(RelatentError):
    """Training data that cannot be used."""


class CheckpointError(RelatentError):
    """A network file that cannot be read as one."""


class WeightsError(RelatentError):
    """Weights that are not what was published or first seen, or whose records are damaged."""


class DownloadError(WeightsError):
    """Weights that cannot be fetched."""


class OutputError(RelatentError):
    """Results that cannot be written where they were asked for."""


class BusyError(RelatentError):
    """More work waits already than is taken; the same request may succeed later."""


class Cancelled(RelatentError):  # noqa: N818 - nobody did anything wrong
    """Work stopped because the progress callback returned False."""

    exit_code = 130
