"""One HTTP request: https only, also after redirects; proxies from the environment; ranges; time-outs.

Failures are classified here: a TransientError is worth another attempt, a DownloadError is not.
"""

from __future__ import annotations

import functools
import http.client
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from relatent.core.errors import DownloadError

CHUNK = 2**20  # bytes read at a time, at most
LONGEST_WAIT = 60.0  # seconds; what a server may ask for with Retry-After
TRANSIENT = frozenset((408, 425, 429, 500, 502, 503, 504))  # HTTP status codes that a later attempt may not get
WEB_PAGE = "sent a web page instead of the file: a quota, a log-in or a warning stands in between"


class TransientError(Exception):
    """A failed attempt that is worth repeating.

    Attributes:
        wait: seconds that the server asked us to wait.
        restart: the bytes received so far cannot be used, so the next attempt starts at byte 0.
    """

    def __init__(self, reason: str, wait: float = 0.0, restart: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.restart = restart


@dataclass(frozen=True)
class Body:
    """The body of a response, not yet read.

    Attributes:
        start: position of its first byte in the file.
        total: bytes of the whole file; None if the server did not say.
        version: an ETag or a date with which a later request can ask for the rest of the same file; None if neither
            was sent.
    """

    response: http.client.HTTPResponse
    start: int
    total: int | None
    version: str | None

    def pieces(self) -> Iterator[bytes]:
        """The content as it arrives, in pieces of at most ``CHUNK`` bytes; raises TransientError."""
        with _classified_errors():
            # read1, not read, which waits for a full chunk and loses the received part when the connection breaks.
            while piece := self.response.read1(CHUNK):
                yield piece


@contextmanager
def open_url(
    url: str, *, timeout: float, start: int = 0, version: str | None = None, local_http: bool = False
) -> Iterator[Body]:
    """Request ``url`` from byte ``start`` on.

    Args:
        timeout: seconds without any byte after which a connection counts as broken.
        start: number of bytes received earlier; the response may start at 0 anyway.
        version: of the file that those bytes belong to.
        local_http: allow plain http to this machine.

    Raises:
        DownloadError: not https, no such file, an invalid certificate, a web page instead of the file, ...
        TransientError: overloaded, cut off, timed out, ...
    """
    check_scheme(url, local_http)
    headers = {"User-Agent": "relatent", "Accept-Encoding": "identity"}
    if start and version:
        headers |= {"Range": f"bytes={start}-", "If-Range": version}  # if the file has changed, all of it is sent
    with _classified_errors():
        response = _opener(local_http).open(request.Request(url, headers=headers), timeout=timeout)
    with response:
        body = _body(response)
        if body.start not in (0, start) or (body.start and body.version != version):
            raise TransientError("answered with another part of the file than was asked for", restart=True)
        yield body


def check_scheme(url: str, local_http: bool = False) -> None:
    """Raises a DownloadError unless ``url`` is https, or plain http to this machine where that is allowed."""
    parts = urlsplit(url)
    local = local_http and parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    if parts.scheme != "https" and not local:
        raise DownloadError(f"{url} is not https; only https is followed")


def _body(response: http.client.HTTPResponse) -> Body:
    headers = response.headers
    if headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise DownloadError(WEB_PAGE)
    if response.status not in (200, 206) or headers.get("Content-Encoding", "identity") != "identity":
        raise DownloadError(f"answered with HTTP {response.status} {headers.get('Content-Encoding', '')}, not the file")
    etag = headers.get("ETag", "")
    version = etag if etag.startswith('"') else headers.get("Last-Modified")  # weak ETags do not promise equal bytes
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("Content-Range", ""))
        if not match:
            raise TransientError("answered with a part of the file and did not say which", restart=True)
        return Body(response, int(match[1]), int(match[2]), version)
    if response.length is None and not response.chunked:
        raise DownloadError("does not say how long the file is, so that its end could not be told from a broken line")
    return Body(response, 0, response.length, version)


class _Redirects(request.HTTPRedirectHandler):
    """Follows redirects to https addresses only."""

    def __init__(self, local_http: bool) -> None:
        self.local_http = local_http

    def redirect_request(
        self, req: request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> request.Request | None:
        check_scheme(newurl, self.local_http)
        supported = 307 if code == 308 else code  # Python 3.10 does not support 308
        return super().redirect_request(req, fp, supported, msg, headers, newurl)  # type: ignore[arg-type]

    http_error_308 = request.HTTPRedirectHandler.http_error_302


@functools.lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    return ssl.create_default_context()  # reads a few hundred files


def _opener(local_http: bool) -> request.OpenerDirector:
    """An opener of http and https only; urllib's default also opens files and ftp."""
    opener = request.OpenerDirector()
    handlers: tuple[Any, ...] = (
        request.ProxyHandler(),  # proxies from the environment
        request.HTTPHandler(),
        request.HTTPSHandler(context=_certificates()),
        request.HTTPDefaultErrorHandler(),
        request.HTTPErrorProcessor(),
        request.UnknownHandler(),
        _Redirects(local_http),
    )
    for handler in handlers:
        opener.add_handler(handler)
    return opener


@contextmanager
def _classified_errors() -> Iterator[None]:
    """Translate the errors of urllib and http.client to DownloadError and TransientError."""
    try:
        yield
    except HTTPError as error:
        with error:
            raise _http_state(error) from error
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise DownloadError(f"has a certificate that does not hold ({error.reason.verify_message})") from error
        if isinstance(error.reason, OSError):
            raise TransientError(_reason(error.reason)) from error
        raise DownloadError(f"cannot be asked ({error.reason})") from error
    except (OSError, http.client.HTTPException) as error:
        raise TransientError(_reason(error)) from error
    except ValueError as error:  # raised by http.client for malformed addresses and headers
        raise DownloadError(f"cannot be asked ({error})") from error


def _http_state(error: HTTPError) -> Exception:
    if error.code == 416:
        return TransientError("has no such part of the file", restart=True)
    message = f"answered with HTTP {error.code} {error.reason}"
    if error.code not in TRANSIENT:
        return DownloadError(message)
    seconds = error.headers.get("Retry-After", "")
    return TransientError(message, wait=min(float(seconds), LONGEST_WAIT) if seconds.isdecimal() else 0.0)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "sent nothing for too long"
    if isinstance(error, http.client.IncompleteRead):
        return "ended the connection too early"
    return f"cannot be reached or broke off ({error or type(error).__name__})"
