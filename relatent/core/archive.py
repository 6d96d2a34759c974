"""Reads untrusted zip files with limits on the size of the central directory and of each member.

``zipfile`` reads a central directory of any size, unpacks members of any size, and raises a dozen types of errors for
damaged files. Here both sizes are limited, and there is one type of error. Members are never extracted under their own
names.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

ENTRY_BYTES = 1024  # of the table for each member: 46 (PKWARE's APPNOTE, 4.3.12), its name, and what some programs add
LEAST_TABLE = 2**17  # bytes; zipfile reads 64 kB at once to find the table behind a comment
PIECE = 2**24  # bytes unpacked at once


class ArchiveError(Exception):
    """The reason why an archive or member cannot be read; callers turn it into an error of their own."""


class TableTooLongError(ArchiveError):
    """The central directory is larger than allowed; it was not read."""


class MemberTooLargeError(ArchiveError):
    """A member is larger than allowed.

    Attributes:
        size: in bytes, as far as known.
    """

    def __init__(self, size: int) -> None:
        super().__init__(f"it has {size} bytes")
        self.size = size


class Archive:
    """An open zip file.

    Args:
        path: the file.
        table_bytes: limit on the size of its central directory.

    Raises:
        TableTooLongError: the central directory is larger.
        ArchiveError: the file cannot be read, or is not a zip file.
    """

    def __init__(self, path: Path, table_bytes: int) -> None:
        try:
            self._file = _BoundedFile(path, max(table_bytes, LEAST_TABLE))
        except OSError as error:
            raise ArchiveError(error.strerror or str(error)) from error
        try:
            self._zip = zipfile.ZipFile(self._file)
        except BaseException as error:  # for a damaged table, zipfile also raises struct.error, UnicodeDecodeError
            self._file.close()
            raise _as_archive_error(error) from error
        self._file.most = None  # a member's reads are bounded by what is asked for
        self.members = self._zip.infolist()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; nothing can be read after."""
        if hasattr(self, "_file"):  # it may not have been opened
            self._file.close()

    def read(self, member: zipfile.ZipInfo, most: int) -> bytes:
        """The bytes of a member, limited regardless of its declared size.

        Raises:
            MemberTooLargeError: more than ``most``.
            ArchiveError: encrypted, packed in an unknown way, or damaged.
        """
        if member.file_size > most:
            raise MemberTooLargeError(member.file_size)
        try:
            with self._zip.open(member) as stream:
                data = stream.read(most + 1)
        except Exception as error:  # zipfile raises BadZipFile, zlib.error, NotImplementedError, struct.error, ...
            raise _as_archive_error(error) from error
        if len(data) > most:
            raise MemberTooLargeError(len(data))
        return data

    def read_into(self, member: zipfile.ZipInfo, target: memoryview) -> None:
        """Read a member of the same size into ``target`` in pieces, so that it is in memory only once.

        Raises:
            ArchiveError: of another size, encrypted, packed in an unknown way, or damaged.
        """
        position = 0
        try:
            with self._zip.open(member) as stream:
                while piece := stream.read(PIECE):  # the last read checks the CRC
                    target[position : position + len(piece)] = piece
                    position += len(piece)
        except Exception as error:
            raise _as_archive_error(error) from error
        if position != len(target):
            raise ArchiveError("a member ends too early")


class _BoundedFile(io.FileIO):
    """A file that refuses reads of more than ``most`` bytes; None for no limit."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(path)
        self.most: int | None = most
        self.length = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = self.length - self.tell() if size is None or size < 0 else size
        if self.most is not None and wanted > self.most:
            raise TableTooLongError(f"its table of contents has {wanted} bytes")
        return super().read(size if size is not None else -1) or b""


def _as_archive_error(error: BaseException) -> BaseException:
    if isinstance(error, ArchiveError) or not isinstance(error, Exception):
        return error
    return ArchiveError(" ".join(str(getattr(error, "strerror", None) or error).split())[:120] or type(error).__name__)
