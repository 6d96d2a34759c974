"""The state of an app with the tiny generator and one planted direction: no photo, no browser, no server."""

from __future__ import annotations

import asyncio

import pytest
import torch
from kept_answers import dlib_is_asked_once  # noqa: F401


@pytest.fixture
def app(tiny_generator, tmp_path):
    from editing import Direction
    from relatent.web import Settings
    from relatent.web.network_lock import NetworkLock
    from relatent.web.queue import JobQueue
    from relatent.web.session import Sessions
    from relatent.web.state import AppState
    from stylegan import network_id

    settings = Settings(session_minutes=5, leave_seconds=10)
    vector = torch.linspace(-1, 1, tiny_generator.w_dim)
    smile = Direction(vector=vector, name="smile", network=network_id(tiny_generator), source="planted")
    lock = NetworkLock()
    return AppState(
        settings=settings,
        network=tiny_generator,
        directions={"smile": smile},
        presets=("balanced", "best", "paper"),
        network_lock=lock,
        queue=JobQueue(3, lock),
        sessions=Sessions(tmp_path / "sessions", settings.session_minutes, settings.leave_seconds, most_kept=2),
    )


@pytest.fixture
def face(app):
    """A function that keeps a random face in a photo of 120 x 100 px for a new session, and gives both."""
    import numpy as np
    from PIL import Image

    from editing.seeds import seed_inversion
    from relatent.core.images import Photo
    from relatent.web.actions.results import write_screen_copy
    from relatent.web.pictures import for_screen

    def make(**more):
        session = app.sessions.begin()
        path = session.new_file("me.png")
        pixels = np.random.default_rng(0).integers(60, 200, (100, 120, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        write_screen_copy(Photo(pixels, "me.png"), path)
        matrix = np.array([[1.5, 0, 40], [0, 1.5, 30], [0, 0, 1]])
        inversion = seed_inversion(app.network, 1).replace(face_to_photo=matrix, photo="me.png")
        aligned = np.zeros((32, 32, 3), np.uint8)
        options = {"photo": path, "preset": "balanced", "factor": for_screen(pixels)[1], **more}
        return session, session.keep(inversion, aligned, "me", **options)

    return make


@pytest.fixture
def built(tiny_generator):
    """A page with the tiny generator, not launched; closed afterwards."""
    pytest.importorskip("gradio")
    from relatent.web import Settings, build_page

    async def build():
        return build_page(Settings(), network=tiny_generator)

    page = asyncio.run(build())  # outside a running loop Gradio makes some of its own, and leaves them open
    yield page
    page.close()


@pytest.fixture(scope="session")
def whole_page():
    """The page with the embedded network, built once and not served; every test begins a session of its own."""
    pytest.importorskip("gradio")
    from relatent.web import build_page

    async def build():
        return build_page()

    page = asyncio.run(build())  # see ``built``
    yield page
    page.close()


@pytest.fixture
def page(whole_page):
    """The whole page, as handlers of its tabs find it."""
    return whole_page


@pytest.fixture
def session(page):
    """A session to it, ended afterwards."""
    one = page.app.sessions.begin()
    yield one
    one.end()
