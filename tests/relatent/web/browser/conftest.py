"""One page in a process of its own, and one Chromium, for all tests of this folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
SERVER = Path(__file__).with_name("server.py")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 240_000  # ms; a busy machine takes its time


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(item.fspath).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.browser)
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="no Chromium on this machine: apt-get install chromium"))


_opened = contextlib.ExitStack()  # the browser, and what it needs


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """End the browser after the last test of this folder.

    It keeps an event loop running in this thread, in which no test elsewhere could run its own.
    """
    yield  # contexts of the test are closed here
    if nextitem is None or not Path(nextitem.fspath).is_relative_to(Path(__file__).parent):
        _opened.close()


@dataclass
class Server:
    """A running page: its address, its folder of temporary files, its process."""

    address: str
    folder: Path
    process: subprocess.Popen

    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]


def start_server(*options: str) -> Server:
    process = subprocess.Popen(
        [sys.executable, str(SERVER), *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline().split()
    assert len(line) == 2, "the page did not start"
    return Server(line[0], Path(line[1]), process)


def stop_server(server: Server) -> None:
    server.process.terminate()
    server.process.wait(timeout=60)
    server.process.stdout.close()


@pytest.fixture(scope="session")
def server():
    running = start_server("--leave-seconds", "20", "--upload-bytes", "3000000", "--pixels", "4000000")
    yield running
    stop_server(running)


@pytest.fixture(scope="session")
def chromium():
    from playwright.sync_api import sync_playwright

    playwright = _opened.enter_context(sync_playwright())
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
    _opened.callback(browser.close)
    return browser


@pytest.fixture
def visitor(chromium, server):
    """A function that opens the page for one more person: a browser context of its own; keywords are its options."""
    contexts = []

    def come(**options):
        context = chromium.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.requested = []
        page.on("request", lambda request: page.requested.append(request.url))
        page.faults = []
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.goto(server.address)
        page.wait_for_selector("#photo")
        return page

    yield come
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def artefacts():
    """Where screenshots are kept: the folder of RELATENT_SCREENSHOTS, or one below the current folder."""
    folder = Path(os.environ.get("RELATENT_SCREENSHOTS", ROOT / "out" / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
