"""Fetches, finds and verifies published weights by name.

If the origin publishes a hash, the file must have it. In any case, the hash of the first download is stored beside it
(``provenance.json``), and every later download must have the same, even if the first has been deleted.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from pathlib import Path

from relatent.core.errors import DownloadError, MissingWeightsError, OutputError, UsageError, WeightsError
from weights.fetching.cache import PROVENANCE, Provenance, locked, place_of, read_provenance, write_provenance
from weights.fetching.download import Progress, Terms, download, looks_like_web_page
from weights.fetching.partial import Content, read_content
from weights.manifest import Entry, entries, find_entry

OFFLINE = "RELATENT_OFFLINE"
BY_HAND = "by hand"

Tell = Callable[[str], None]


def is_known(name: str) -> bool:
    """Whether the manifest has weights of this name, fetched or not."""
    return name in entries()


def fetch(
    name: str,
    *,
    offline: bool = False,  # do not use the network; RELATENT_OFFLINE=1 does the same
    accept: bool = False,  # the licence of non-commercial weights has been read and accepted
    progress: Progress | None = None,
    tell: Tell | None = None,  # called with sentences for the user
) -> Path:
    """The file of the weights called ``name``, fetched if it is not in the cache.

    Raises:
        UnknownNameError: not in the manifest.
        MissingWeightsError: not in the cache, and offline.
        UsageError: a non-commercial licence that has not been accepted.
        DownloadError: all addresses failed, or the file must be downloaded by hand.
        WeightsError: the file in the cache has another size or hash than expected.
        OutputError: the cache cannot be written.
    """
    return fetch_entry(find_entry(name), offline=offline, accept=accept, progress=progress, tell=tell)


def fetch_entry(
    entry: Entry,
    *,
    offline: bool = False,
    accept: bool = False,
    progress: Progress | None = None,
    tell: Tell | None = None,
    terms: Terms | None = None,
) -> Path:
    """:func:`fetch` for an entry of the manifest."""
    path, tell = place_of(entry), tell or (lambda _: None)
    if path.is_file():
        return locate_entry(entry)
    if offline or os.environ.get(OFFLINE, "0") not in ("", "0"):
        raise MissingWeightsError(
            f"{entry.name} is not in the cache ({path}), and fetching is off. Leave out --offline, or unset {OFFLINE}."
        )
    if not entry.urls:
        raise DownloadError(f"{entry.name} cannot be fetched by a program. {_by_hand(entry, path)}")
    if entry.non_commercial and not accept:
        raise UsageError(
            f"{entry.name} is for non-commercial use ({entry.licence}, {entry.licence_url}). "
            "Accept that first: --yes, or accept=True from Python."
        )
    with locked(path, tell):
        if not path.is_file():  # else another process has fetched it meanwhile
            _download(entry, path, tell, progress, terms)
    return locate_entry(entry)


def locate(name: str) -> Path:
    """The file of the weights called ``name`` in the cache; never uses the network.

    A file that the user put there by hand is checked once, when it is first used.

    Raises:
        UnknownNameError: not in the manifest.
        MissingWeightsError: not in the cache; the message names the command that fetches it.
        WeightsError: the file has another size or hash than published or recorded.
    """
    return locate_entry(find_entry(name))


def locate_entry(entry: Entry) -> Path:
    """:func:`locate` for an entry of the manifest."""
    path = _present(entry)
    known = read_provenance(path)
    if known is None or known.bytes != path.stat().st_size:  # hashing the file at every use would take too long
        check_entry(entry)
    return path


def verify(name: str) -> Provenance:
    """Hash the file of ``name`` and compare it with what is published and recorded; raises what locate raises."""
    return check_entry(find_entry(name))


def check_entry(entry: Entry) -> Provenance:
    """:func:`verify` for an entry of the manifest."""
    path = _present(entry)
    try:
        content = read_content(path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}). Check its permissions.") from error
    known = read_provenance(path)
    try:
        if looks_like_web_page(content.head):
            raise WeightsError("is a web page, not the file. It was probably saved from a notice or a log-in")
        now = _checked(entry, known, BY_HAND, content)
    except WeightsError as error:
        again = f"Delete it and run: python -m weights fetch {entry.name}"
        raise WeightsError(f"{path} {str(error).rstrip('.')}. {again}") from error
    if known is None:
        try:
            write_provenance(path, now)
        except OutputError:
            return now  # a shared cache may be read-only; the file is then checked each time
    return known or now


def _present(entry: Entry) -> Path:
    path = place_of(entry)
    if not path.is_file():
        raise MissingWeightsError(
            f"{entry.name} is not on this machine; expected it at {path}. "
            f"Fetch it with: python -m weights fetch {entry.name}"
        )
    return path


def _download(entry: Entry, path: Path, tell: Tell, progress: Progress | None, terms: Terms | None) -> None:
    known = read_provenance(path)

    def check(url: str, content: Content) -> None:
        now = _checked(entry, known, url, content)
        if known:
            return
        write_provenance(path, now)  # before the file is moved to its place, so that no file is without a record
        if now.checked != "published":
            tell(
                f"{entry.name}: the origin publishes {'no' if entry.sha256 is None else 'only the beginning of a'} "
                f"sha256; this file's, {content.sha256}, is kept and compared from now on."
            )

    try:
        download(entry.urls, path, check, size=entry.bytes, terms=terms, progress=progress)
    except DownloadError as error:
        raise DownloadError(f"{entry.name} was not fetched: {error} {_by_hand(entry, path)}") from error


def _checked(entry: Entry, known: Provenance | None, url: str, content: Content) -> Provenance:
    """The record of a file's content, after comparing it with what is published and recorded.

    Raises:
        WeightsError: it differs; the message lacks its subject, which the caller adds.
    """
    if entry.bytes is not None and content.size != entry.bytes:
        raise WeightsError(f"is {content.size} bytes long; expected {entry.bytes}.")
    if entry.sha256 and not content.sha256.startswith(entry.sha256):
        dots = "..." if len(entry.sha256) < len(content.sha256) else ""
        raise WeightsError(f"has sha256 {content.sha256}; published was {entry.sha256}{dots}")
    if known and content.sha256 != known.sha256:
        raise WeightsError(
            f"has sha256 {content.sha256}; the one from {known.url} on {known.date} had {known.sha256} "
            f"(if the change is wanted, delete {PROVENANCE} beside it)"
        )
    grade = "nothing published"
    if entry.sha256:
        grade = "published" if len(entry.sha256) == len(content.sha256) else "published beginning"
    return Provenance(
        name=entry.name,
        url=url,
        sha256=content.sha256,
        bytes=content.size,
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        checked=grade,
        licence=entry.licence,
        licence_url=entry.licence_url,
        non_commercial=entry.non_commercial,
    )


def _by_hand(entry: Entry, path: Path) -> str:
    return (
        f"To do it by hand: get {entry.filename} from {entry.origin}, save it as {path} and run: "
        f"python -m weights verify {entry.name}"
    )
