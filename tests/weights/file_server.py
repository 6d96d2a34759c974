"""A real HTTP server on this machine that misbehaves on request: what it does is the path it is asked for."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = random.Random(0).randbytes(3_000_000)
HALF = len(CONTENT) // 2
PAGE = b"\n<!DOCTYPE html><html><head><title>Quota exceeded</title></head><body>Too many users.</body></html>"


class FileServer(ThreadingHTTPServer):
    """Attributes:
    asked: (path, Range header or None) of every request so far.
    go_on: what "gated" answers wait for after their first half.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []
        self.go_on = threading.Event()
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"

    def count(self, path):
        return sum(asked == path for asked, _ in self.asked)

    def handle_error(self, request, client_address):
        """Clients that hang up are the point of half of the tests."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = (
            self.path if self.path.startswith("http://") else self.path.lstrip("/")
        )  # a proxy is asked for a whole address
        with self.server.lock:
            self.server.asked.append((path, self.headers["Range"]))
        name, _, argument = path.partition("?")
        with suppress(ConnectionError):
            getattr(self, "as_" + name.replace("-", "_"), self.as_missing)(argument)

    def headed(self, state=200, length=None, **headers):
        self.send_response(state)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()

    def file(self, stop=None, version='"one"', ranges=True, pause=0.0, gate=False, **headers):
        """The content as a good server sends it, up to byte ``stop``."""
        asked = self.headers["Range"]
        start = 0
        if ranges and asked and self.headers["If-Range"] == version:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            headers["Content_Range"] = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        if version:
            headers["Last_Modified" if version.endswith("GMT") else "ETag"] = version
        self.headed(206 if start else 200, len(CONTENT) - start, **headers)
        if gate and start < HALF:
            self.wfile.write(CONTENT[start:HALF])
            start = HALF
            self.server.go_on.wait(120)
        time.sleep(pause)
        self.wfile.write(CONTENT[start:stop])

    def first_time(self):
        return self.server.count(self.path.lstrip("/")) == 1

    def as_file(self, _):
        self.file()

    def as_dated(self, _):
        self.file(stop=HALF if self.first_time() else None, version=formatdate(0, usegmt=True))

    def as_slow(self, seconds):
        self.file(pause=float(seconds))

    def as_gated(self, _):
        self.file(gate=True)

    def as_short(self, _):
        self.file(stop=HALF if self.first_time() else None)

    def as_always_short(self, _):
        self.file(stop=1000)

    def as_short_without_ranges(self, _):
        self.file(stop=HALF if self.first_time() else None, ranges=False)

    def as_changed(self, _):
        first = self.first_time()
        self.file(stop=HALF if first else None, version='"one"' if first else '"two"')

    def as_wrong_part(self, _):
        """Ignores where it was asked to begin, and says so."""
        if self.first_time() or not self.headers["Range"]:
            return self.file(stop=HALF if self.first_time() else None)
        self.headed(206, 10, ETag='"one"', Content_Range=f"bytes 7-16/{len(CONTENT)}")
        return self.wfile.write(CONTENT[7:17])

    def as_wrong_version(self, _):
        """Goes on with another file than the one begun, and does not mind."""
        if self.first_time() or not self.headers["Range"]:
            return self.file(stop=HALF if self.first_time() else None)
        self.headed(206, HALF, ETag='"two"', Content_Range=f"bytes {HALF}-{len(CONTENT) - 1}/{len(CONTENT)}")
        return self.wfile.write(bytes(HALF))

    def as_no_such_part(self, _):
        if self.first_time() or not self.headers["Range"]:
            return self.file(stop=HALF if self.first_time() else None)
        return self.headed(416, 0)

    def as_chunked(self, argument):
        self.headed(200, Transfer_Encoding="chunked")
        pieces = 3 if argument == "cut" else len(CONTENT) // 100_000
        for start in range(0, pieces * 100_000, 100_000):
            self.wfile.write(b"186a0\r\n" + CONTENT[start : start + 100_000] + b"\r\n")
        if argument != "cut":
            self.wfile.write(b"0\r\n\r\n")

    def as_without_length(self, _):
        self.headed(200)
        self.wfile.write(CONTENT)

    def as_empty(self, _):
        self.headed(200, 0)

    def as_busy(self, times):
        path = self.path.lstrip("/")
        if self.server.count(path) <= int(times):
            return self.headed(503 if self.server.count(path) % 2 else 500, 0, Retry_After="0")
        return self.file()

    def as_redirect(self, target):
        self.headed(302, 0, Location=target)

    def as_circle(self, _):
        self.headed(302, 0, Location="/circle")

    def as_moved(self, target):
        self.headed(308, 0, Location=target)

    def as_page(self, _):
        self.headed(200, len(PAGE), Content_Type="text/html; charset=utf-8")
        self.wfile.write(PAGE)

    def as_page_in_disguise(self, _):
        self.headed(200, len(PAGE), Content_Type="application/octet-stream")
        self.wfile.write(PAGE)

    def as_compressed(self, _):
        self.headed(200, 10, Content_Encoding="gzip")
        self.wfile.write(b"0123456789")

    def as_silent(self, _):
        time.sleep(1.5)

    def as_hang(self, _):
        self.headed(200, len(CONTENT), ETag='"one"')
        self.wfile.write(CONTENT[:HALF])
        self.wfile.flush()
        if self.first_time():
            time.sleep(1.5)

    def as_nonsense(self, _):
        self.wfile.write(b"this is not HTTP\r\n\r\n")
        self.close_connection = True

    def as_huge(self, _):
        self.headed(200, 10**15)

    def as_missing(self, _):
        if self.path.startswith("http://"):  # asked as a proxy
            return self.file()
        return self.headed(404, 0)
