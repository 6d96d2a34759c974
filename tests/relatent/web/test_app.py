"""`python app.py`: what it is told reaches the page, and its mistakes are told in one line."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from relatent.core.scratch import LOCK_FILE
from relatent.web import command as app

pytest.importorskip("gradio")


class FakePage:
    """Takes note of how it was launched."""

    def __init__(self, settings):
        self.settings, self.launched, self.closed = settings, None, False
        self.blocks = self

    def launch(self, **options):
        self.launched = options
        return "http://127.0.0.1:7860/"

    def block_thread(self):
        raise KeyboardInterrupt

    def close(self):
        self.closed = True


@pytest.fixture
def pages(monkeypatch):
    made = []

    def build(settings):
        made.append(FakePage(settings))
        return made[-1]

    monkeypatch.setattr(app, "build_page", build)
    return made


def test_it_is_local_and_never_shared_by_itself(pages):
    result = CliRunner().invoke(app.main, [])
    (page,) = pages
    assert page.launched == {"port": None, "share": False, "auth": None, "root_path": None, "wait": False}
    assert page.settings.max_queue == 16
    assert page.closed
    assert "http://127.0.0.1:7860/" in result.output
    assert result.exit_code == 130


def test_options_reach_the_page(pages):
    arguments = "--port 8000 --auth me:a:b --root-path /faces --max_queue 3 --share --threads 1 --directions mine"
    CliRunner().invoke(app.main, arguments.split())
    (page,) = pages
    expected = {"port": 8000, "share": True, "auth": ("me", "a:b"), "root_path": "/faces", "wait": False}
    assert page.launched == expected
    assert page.settings.max_queue == 3
    assert page.settings.threads == 1
    assert page.settings.folders == (Path("mine"),)


@pytest.mark.parametrize("auth", ["hunter2", ":hunter2", "hunter2:", ""])
def test_a_login_without_name_or_password_is_refused(pages, auth):
    result = CliRunner().invoke(app.main, ["--auth", auth])
    assert result.exit_code == 2
    assert "expected USER:PASS" in result.output
    assert "hunter2" not in result.output  # a password is not repeated
    assert not pages


def test_an_unknown_network_is_told_in_one_line():
    result = CliRunner().invoke(app.main, ["--network", "faces-65"])
    assert result.exit_code == 2
    assert "faces-65" in result.output
    assert "Traceback" not in result.output


def test_without_gradio_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    result = CliRunner().invoke(app.main, [])
    assert result.exit_code == 2
    assert "pip install -e ." in result.output


def test_the_page_is_launched_closed_to_the_outside(built, monkeypatch):
    given = {}
    monkeypatch.setattr(built.blocks, "launch", lambda **options: given.update(options) or (None, "here", None))
    built.launch(wait=False)
    assert given["server_name"] == "127.0.0.1"
    assert given["share"] is False
    assert given["run_history"] is False
    assert given["ssr_mode"] is False
    assert given["max_file_size"] == built.app.settings.limits.upload_bytes
    assert built.blocks.analytics_enabled is False
    assert built.folder.stat().st_mode & 0o077 == 0
    built.close()
    assert not built.folder.exists()


def test_only_the_documented_calls_are_public(built):
    public = set(built.blocks.get_api_info()["named_endpoints"])
    assert public >= {"/invert", "/edit"}
    assert public <= {"/invert", "/edit", "/mix"}


def test_hidden_progress_is_tracked_on_one_hidden_widget_alone(built):
    hidden = [event for event in built.blocks.fns.values() if event.show_progress == "hidden"]
    assert len(hidden) > 50
    assert {tuple(one.elem_id for one in event.show_progress_on or ()) for event in hidden} == {("visit",)}


def test_the_next_start_deletes_what_a_killed_page_has_left(tiny_generator, tmp_path, monkeypatch):
    from relatent.web import build_page
    from relatent.web.server import PREFIX

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / f"{PREFIX}left" / "sessions" / "someone"
    left.mkdir(parents=True)
    (left / "me.png").touch()
    (tmp_path / f"{PREFIX}left" / LOCK_FILE).touch()

    async def build():  # as in conftest.py
        return build_page(network=tiny_generator)

    page = asyncio.run(build())
    assert list(tmp_path.iterdir()) == [page.folder]
    other = asyncio.run(build())
    assert page.folder.exists()  # its server lives
    for one in (page, other):
        one.close()
    assert list(tmp_path.iterdir()) == []
