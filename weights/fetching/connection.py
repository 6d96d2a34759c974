"""One HTTP request on our terms: https alone, also after redirects; the environment's proxies; ranges; time-outs.

What goes wrong is sorted here, once: a DownloadError would happen again, a Broken might not.
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
PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))  # HTTP states that a later attempt may not meet
WEB_PAGE = "sent a web page instead of the file: a quota, a log-in or a warning stands in between"


class Broken(Exception):  # noqa: N818 - not an error yet: there may be another attempt
    """An attempt that failed in a way that the next may not.

    Attributes:
        wait: seconds the server asked us to stay away.
        restart: whether what was received so far cannot be continued.
    """

    def __init__(self, reason: str, wait: float = 0.0, restart: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.restart = restart


@dataclass(frozen=True)
class Body:
    """An answer's content, not yet read.

    Attributes:
        start: where in the file its first byte belongs.
        total: bytes of the whole file; None if only the content's own end will tell.
        version: by what a later request can ask for more of the same file (an ETag or a date), if by anything.
    """

    response: http.client.HTTPResponse
    start: int
    total: int | None
    version: str | None

    def pieces(self) -> Iterator[bytes]:
        """The content as it comes, in pieces of at most ``CHUNK`` bytes; raises Broken."""
        with _sorted_errors():
            # read1 and not read, which would wait for a full chunk and lose what had come when the connection breaks.
            while piece := self.response.read1(CHUNK):
                yield piece


@contextmanager
def open_url(
    url: str, *, timeout: float, start: int = 0, version: str | None = None, local_http: bool = False
) -> Iterator[Body]:
    """Ask for ``url`` from byte ``start`` on.

    Args:
        timeout: seconds without any byte after which a connection counts as broken.
        start: what is there already; the answer may begin at 0 all the same.
        version: which version of the file that belongs to.
        local_http: allow plain http to this machine.

    Raises:
        DownloadError: refused for good: not https, no such file, a certificate that does not hold, a web page, ...
        Broken: overloaded, cut off, timed out, ...
    """
    check_scheme(url, local_http)
    headers = {"User-Agent": "relatent", "Accept-Encoding": "identity"}
    if start and version:
        headers |= {"Range": f"bytes={start}-", "If-Range": version}  # a changed file comes whole, from byte 0
    with _sorted_errors():
        response = _opener(local_http).open(request.Request(url, headers=headers), timeout=timeout)
    with response:
        body = _body(response)
        if body.start not in (0, start) or (body.start and body.version != version):
            raise Broken("answered with another part of the file than was asked for", restart=True)
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
    version = etag if etag.startswith('"') else headers.get("Last-Modified")  # a weak ETag does not mean equal bytes
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("Content-Range", ""))
        if not found:
            raise Broken("answered with a part of the file and did not say which", restart=True)
        return Body(response, int(found[1]), int(found[2]), version)
    if response.length is None and not response.chunked:
        raise DownloadError("does not say how long the file is, so that its end could not be told from a broken line")
    return Body(response, 0, response.length, version)


class _Redirects(request.HTTPRedirectHandler):
    """Follows redirects, to addresses that we would ask ourselves."""

    def __init__(self, local_http: bool) -> None:
        self.local_http = local_http

    def redirect_request(
        self, req: request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> request.Request | None:
        check_scheme(newurl, self.local_http)
        known = 307 if code == 308 else code  # Python 3.10 does not know the permanent form
        return super().redirect_request(req, fp, known, msg, headers, newurl)  # type: ignore[arg-type]

    http_error_308 = request.HTTPRedirectHandler.http_error_302


@functools.lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    return ssl.create_default_context()  # reads a few hundred files


def _opener(local_http: bool) -> request.OpenerDirector:
    """An opener of http and https alone; urllib's own also opens files and ftp."""
    opener = request.OpenerDirector()
    handlers: tuple[Any, ...] = (
        request.ProxyHandler(),  # of the environment
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
def _sorted_errors() -> Iterator[None]:
    """Foreign errors of a request as ours."""
    try:
        yield
    except HTTPError as error:
        with error:
            raise _http_state(error) from error
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise DownloadError(f"has a certificate that does not hold ({error.reason.verify_message})") from error
        if isinstance(error.reason, OSError):
            raise Broken(_reason(error.reason)) from error
        raise DownloadError(f"cannot be asked ({error.reason})") from error
    except (OSError, http.client.HTTPException) as error:
        raise Broken(_reason(error)) from error
    except ValueError as error:  # http.client's word for nonsense in an address or a header
        raise DownloadError(f"cannot be asked ({error})") from error


def _http_state(error: HTTPError) -> Exception:
    if error.code == 416:
        return Broken("has no such part of the file", restart=True)
    words = f"answered with HTTP {error.code} {error.reason}"
    if error.code not in PASSING:
        return DownloadError(words)
    asked = error.headers.get("Retry-After", "")
    return Broken(words, wait=min(float(asked), LONGEST_WAIT) if asked.isdecimal() else 0.0)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "sent nothing for too long"
    if isinstance(error, http.client.IncompleteRead):
        return "ended the connection too early"
    return f"cannot be reached or broke off ({error or type(error).__name__})"
