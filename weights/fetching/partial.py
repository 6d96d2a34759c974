"""A download under way, on disk: what has come, its hash, and of which version of which address it is the beginning."""

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
    """What is known of a file's content.

    Attributes:
        size: in bytes.
        sha256: its hash, 64 lower-case hex digits.
        head: its first bytes, enough to tell a web page.
    """

    size: int
    sha256: str
    head: bytes


class PartialFile:
    """The beginning of ``target``, in hidden files beside it that outlive a killed process.

    Without a version it could not be told whether the server's file is still the same, so such a beginning is
    not kept from one process to the next.

    Attributes:
        path: the file.
        url: where it comes from; "" if it is empty.
        version: what the server called this version of it.
        size: bytes so far.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f".{target.name}.part")
        self.record = target.with_name(f".{target.name}.part.json")
        self.url, self.version, self.size = "", "", 0
        self._hash = hashlib.sha256()
        self._pick_up()

    def begin(self, url: str, version: str | None) -> None:
        """Throw away what there is and begin anew."""
        self.discard()
        self.url, self.version = url, version or ""
        if version:
            write_bytes(self.record, json.dumps({"url": url, "version": version}).encode())
        self.path.touch()

    def append(self, piece: bytes) -> None:
        """Add ``piece``."""
        with self.path.open("ab", buffering=0) as file:
            file.write(piece)
        self._hash.update(piece)
        self.size += len(piece)

    def content(self) -> Content:
        """What has come so far."""
        with self.path.open("rb") as file:
            return Content(self.size, self._hash.hexdigest(), file.read(1024))

    def finish(self) -> None:
        """Put the file in the target's place."""
        self.path.replace(self.target)
        self.record.unlink(missing_ok=True)

    def discard(self) -> None:
        """Leave nothing behind."""
        self.path.unlink(missing_ok=True)  # before the record: alone it would be of no known version
        self.record.unlink(missing_ok=True)
        self.url, self.version, self.size = "", "", 0
        self._hash = hashlib.sha256()

    def _pick_up(self) -> None:
        """Go on from what an earlier process left, if it can be used."""
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
    """Hand the file to ``take`` piece by piece; its size."""
    size = 0
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            take(piece)
            size += len(piece)
    return size
