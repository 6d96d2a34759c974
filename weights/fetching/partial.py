"""A partial download on disk: the bytes received, their hash, and the address and version they belong to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from relatent.core.files import write_bytes

CHUNK = 2**20  # bytes hashed at once


@dataclass(frozen=True)
class Content:
    """Size, hash and first bytes of a file.

    Attributes:
        size: in bytes.
        sha256: its hash, 64 lower-case hex digits.
        head: its first 1024 bytes, enough to recognise a web page.
    """

    size: int
    sha256: str
    head: bytes


class PartialFile:
    """The first part of ``target``, in hidden files beside it, so that a killed process can be resumed.

    A part whose version is unknown is not used by another process, because the file on the server may have changed.

    Attributes:
        path: the file.
        url: its address; "" if it is empty.
        version: the server's name of this version.
        size: bytes received.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f".{target.name}.part")
        self.record = target.with_name(f".{target.name}.part.json")
        self.url, self.version, self.size = "", "", 0
        self._hash = hashlib.sha256()
        self._pick_up()

    def begin(self, url: str, version: str | None) -> None:
        """Discard the part and start again from ``url``."""
        self.discard()
        self.url, self.version = url, version or ""
        if version:
            write_bytes(self.record, json.dumps({"url": url, "version": version}).encode())
        self.path.touch()

    def append(self, piece: bytes) -> None:
        """Append received bytes."""
        with self.path.open("ab", buffering=0) as file:
            file.write(piece)
        self._hash.update(piece)
        self.size += len(piece)

    def content(self) -> Content:
        """Size, hash and head of the part."""
        with self.path.open("rb") as file:
            return Content(self.size, self._hash.hexdigest(), file.read(1024))

    def finish(self) -> None:
        """Move the file to the target's path."""
        self.path.replace(self.target)
        self.record.unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete the part and its record."""
        self.path.unlink(missing_ok=True)  # before the record, without which its version would be unknown
        self.record.unlink(missing_ok=True)
        self.url, self.version, self.size = "", "", 0
        self._hash = hashlib.sha256()

    def _pick_up(self) -> None:
        """Continue the part that an earlier process left, if it can be used."""
        try:
            values = json.loads(self.record.read_text(encoding="utf-8"))
            url, version = str(values["url"]), str(values["version"])
            self.size = _feed(self.path, self._hash.update)
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            self.discard()
        else:
            self.url, self.version = url, version


def read_content(path: Path) -> Content:
    """Size, hash and head of a file."""
    sha256 = hashlib.sha256()
    size = _feed(path, sha256.update)
    with path.open("rb") as file:
        return Content(size, sha256.hexdigest(), file.read(1024))


def _feed(path: Path, take: Callable[[bytes], None]) -> int:
    """Pass the file to ``take`` in chunks; returns its size."""
    size = 0
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            take(piece)
            size += len(piece)
    return size
