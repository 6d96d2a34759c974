import hashlib
import threading

import pytest
from file_server import CONTENT, FileServer

from weights.fetching.download import Terms
from weights.manifest import Entry

TERMS = Terms(timeout=0.4, retries=2, pause=0.01, local_http=True)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and no proxy between the tests and their server."""
    monkeypatch.setenv("RELATENT_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "RELATENT_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path / "cache"


@pytest.fixture
def server():
    with FileServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.go_on.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def terms():
    return TERMS


@pytest.fixture
def entry_for(server):
    """Makes an entry whose addresses are paths of the server."""

    def make(*paths, **changes):
        values = {
            "name": "net",
            "kind": "generator",
            "filename": "net.pkl",
            "urls": tuple(server.url + path for path in paths),
            "licence": "MIT",
            "licence_url": "https://example.org/licence",
            "non_commercial": False,
            "origin": "https://example.org/nets",
            "paper": "https://example.org/paper",
            "sha256": hashlib.sha256(CONTENT).hexdigest(),
        }
        return Entry(**values | changes)

    return make
