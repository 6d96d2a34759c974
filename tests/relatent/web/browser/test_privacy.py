"""Two people never see each other's pictures, nothing is kept, and nothing is asked of other machines."""

from __future__ import annotations

import time

import pytest
from steps import choose_quality, upload_astronaut

pytestmark = pytest.mark.slow  # minutes in a browser; test_flow.py has the main path


def test_no_request_leaves_the_machine(visitor, server):
    page = visitor()
    upload_astronaut(page)
    own = (server.address.rstrip("/"), "data:", "blob:")
    assert [url for url in page.requested if not url.startswith(own)] == []
    assert page.evaluate("[...document.fonts].filter(font => font.status === 'loaded').length") == 0


def test_two_visitors_share_nothing(visitor, server):
    one, other = visitor(), visitor()
    choose_quality(one)
    upload_astronaut(one)
    other.reload()
    other.wait_for_selector("#photo")
    other.wait_for_timeout(500)
    assert other.locator("#edited img").count() == 0
    again = one.context.new_page()  # even the same person's second tab begins anew
    again.goto(server.address)
    again.wait_for_selector("#photo")
    again.wait_for_timeout(500)
    assert again.locator("#edited img").count() == 0


def test_nothing_is_kept_in_the_browser_or_after_the_visit(visitor, server):
    page = visitor()
    before = {path for path in server.files() if path.exists()}
    choose_quality(page)
    upload_astronaut(page)
    stored = page.evaluate("JSON.stringify(localStorage) + JSON.stringify(sessionStorage)")
    assert "astronaut" not in stored
    databases = page.evaluate("indexedDB.databases().then(found => found.map(one => one.name))")
    assert not [name for name in databases if "run" in str(name).lower()]
    assert page.request.get(f"{server.address}gradio_api/runs").status in (403, 404)
    mine = set(server.files()) - before
    assert mine
    page.close()
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and any(path.exists() for path in mine):
        time.sleep(0.5)
    assert [path for path in mine if path.exists()] == []
