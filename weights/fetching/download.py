"""Downloads a file with mirrors, retries and resuming; checks the disk space before and the content after."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from relatent.core.errors import DownloadError, OutputError, WeightsError
from relatent.core.files import output_errors
from weights.fetching.connection import WEB_PAGE, TransientError, open_url
from weights.fetching.partial import Content, PartialFile

Progress = Callable[[int, int | None], None]
"""Called with the bytes received and the total, which is None if the server did not say."""

LARGEST = 8 * 2**30  # bytes; limit for files of unknown size, more than any published generator has
SPARE = 2**24  # bytes left free on the disk
STEP = 2**20  # bytes that count as progress and reset the count of retries


@dataclass(frozen=True)
class Terms:
    """Time-outs and retries.

    Attributes:
        timeout: seconds without any byte after which a connection counts as broken.
        retries: further attempts without progress before giving up.
        pause: seconds before the second attempt; doubled after each attempt without progress.
        local_http: allow plain http to this machine.
    """

    timeout: float = 30.0
    retries: int = 4
    pause: float = 1.0
    local_http: bool = False


def download(
    urls: Sequence[str],
    target: Path,
    check: Callable[[str, Content], None],
    *,
    size: int | None = None,
    terms: Terms | None = None,
    progress: Progress | None = None,
) -> None:
    """Download ``target`` from the first of ``urls`` that works.

    An interrupted download is kept beside ``target``, and the next call continues it. Only one process at a time may
    do this; see :func:`weights.fetching.cache.locked`.

    Args:
        urls: addresses of the same content, best first.
        check: called with the address and the content before the file is moved to ``target``; raises a WeightsError
            to refuse it, which deletes the file and tries the next address.
        size: bytes the file must have; None if not known.

    Raises:
        DownloadError: all addresses failed; the message has the reason for each.
        OutputError: the disk is full, or the folder is not writable.
    """
    terms = terms or Terms()
    failures = []
    with output_errors(target.parent):
        part = PartialFile(target)
        for url in sorted(urls, key=lambda url: url != part.url):  # first the address of an interrupted download
            try:
                _receive(url, part, size, terms, progress or (lambda *_: None))
                _accept(url, part, check)
                return
            except WeightsError as error:
                failures.append(f"{url} {str(error).rstrip('.')}")
    raise DownloadError("; ".join(failures) + ".")


def _receive(url: str, part: PartialFile, size: int | None, terms: Terms, progress: Progress) -> None:
    """Attempt until ``part`` is complete; raises a DownloadError after too many attempts without progress."""
    fruitless = 0
    while True:
        before = part.size if part.url == url else 0
        try:
            return _attempt(url, part, size, terms, progress)
        except TransientError as error:
            if error.restart:
                part.discard()
            fruitless = 0 if part.size - before >= STEP else fruitless + 1
            if fruitless > terms.retries:
                raise DownloadError(f"{error} ({fruitless} attempts)") from error
            time.sleep(max(error.wait, terms.pause * 2 ** max(fruitless - 1, 0)))


def _attempt(url: str, part: PartialFile, size: int | None, terms: Terms, progress: Progress) -> None:
    """One request, written to ``part``."""
    start = part.size if part.url == url and part.version else 0
    with open_url(url, timeout=terms.timeout, start=start, version=part.version, local_http=terms.local_http) as body:
        total = body.total if body.total is not None else size
        if size is not None and total != size:
            raise DownloadError(f"is {total} bytes long; expected {size}")
        if body.start == 0:
            part.begin(url, body.version)
        _check_room(part, (total or 0) - part.size)
        progress(part.size, total)
        for piece in body.pieces():
            if part.size + len(piece) > (LARGEST if total is None else total):
                part.discard()
                raise DownloadError(f"sent more than {total or LARGEST} bytes")
            part.append(piece)
            progress(part.size, total)
    if total is not None and part.size < total:
        raise TransientError(f"ended after {part.size} of {total} bytes")


def _check_room(part: PartialFile, missing: int) -> None:
    """Check size and disk space before the first byte is written."""
    if missing > LARGEST:
        raise DownloadError(f"is {missing} bytes long; no more than {LARGEST} are believed")
    free = shutil.disk_usage(part.path.parent).free
    if missing + SPARE > free:
        raise OutputError(
            f"cannot write {part.target}: it needs {missing / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free. "
            "Free some space, or set RELATENT_CACHE to a folder on another disk."
        )


def _accept(url: str, part: PartialFile, check: Callable[[str, Content], None]) -> None:
    """Move ``part`` to its target if its content is accepted, else delete it."""
    try:
        content = part.content()
        if not content.size:
            raise DownloadError("sent an empty file")
        if looks_like_web_page(content.head):
            raise DownloadError(WEB_PAGE)
        check(url, content)
    except WeightsError:
        part.discard()
        raise
    part.finish()


def looks_like_web_page(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is HTML, regardless of its name."""
    return re.match(rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", _plain(head), re.I | re.S) is not None


def _plain(head: bytes) -> bytes:
    """``head`` without a byte order mark and XML declaration."""
    return re.sub(rb"^(\xef\xbb\xbf)?\s*(<\?xml[^>]*>)?", b"", head)
