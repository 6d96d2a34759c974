"""The executor that inverts in this process, with photos read in others if there are any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from inversion.batch.inverter import Inverter
from inversion.batch.requests import Answers, Request
from inversion.batch.workers import Workers


class Here:
    """Inverts in this process, in batches of faces.

    Args:
        inverter: with its networks loaded.
        readers: processes that read, decode and align photos while the network works; 0 to do that in turn.
    """

    def __init__(self, inverter: Inverter, readers: int = 0) -> None:
        self.inverter, self.readers = inverter, readers

    def answers(self, requests: Iterator[Request | None]) -> Answers:
        """The answers to requests, in their order unless there are several readers."""
        for photo in self._photos(requests):
            if photo is None:
                yield None
            else:
                yield from self.inverter.take(photo)
        yield from self.inverter.rest()

    def _photos(self, requests: Iterator[Request | None]) -> Iterator[Any]:
        reader = self.inverter.reader
        if self.readers:
            yield from Workers(self.readers, reader).answers(requests)
        else:
            for request in requests:
                yield None if request is None else reader.read(request)
