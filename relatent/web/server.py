"""Builds, launches and closes the page."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from inversion.project import demo_photo
from relatent.core import cpu
from relatent.core.images import read_photo
from relatent.core.scratch import ScratchFolder, remove_abandoned
from relatent.web import file_chooser, page_script
from relatent.web.actions.faces import faces_of
from relatent.web.errors import require_gradio
from relatent.web.settings import Settings
from relatent.web.state import AppState
from relatent.web.theme import CSS, theme
from stylegan import Generator

PREFIX = "relatent-page-"  # of the folder with all temporary files
ADDRESS = "127.0.0.1"


@dataclass
class Page:
    """A page that can be launched.

    Attributes:
        blocks: the widgets, a `gradio.Blocks`.
        app: the state shared by all users.
        folder: of all temporary files, private to this process.
    """

    blocks: Any
    app: AppState
    scratch: ScratchFolder

    @property
    def folder(self) -> Path:
        """Where all temporary files lie."""
        return self.scratch.path

    def launch(
        self,
        *,
        port: int | None = None,  # None for the first free one from 7860
        share: bool = False,  # a public address, through Gradio's servers
        auth: tuple[str, str] | None = None,  # user name and password; None for no authentication
        root_path: str | None = None,  # path below which a proxy serves the page
        wait: bool = True,  # block until the server is stopped
    ) -> str:
        """Serve the page on the local interface; returns its address.

        Raises:
            OSError: the port is taken.
        """
        _, address, _ = self.blocks.launch(
            server_name=ADDRESS,
            server_port=port,
            share=share,
            auth=auth,
            root_path=root_path,
            prevent_thread_lock=True,
            quiet=True,
            inbrowser=False,
            show_error=False,
            footer_links=["api"],
            run_history=False,
            enable_monitoring=False,
            max_file_size=self.app.settings.limits.upload_bytes,
            state_session_capacity=1000,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            _frontend=False,  # no second check of the address, which fails if a busy machine needs 3 seconds for it
            theme=theme(),
            css=CSS,
            head=file_chooser.head() + page_script.head(),
        )
        # Only now, because dlib keeps other threads waiting.
        threading.Thread(target=_warm_up, name="relatent-warm-up", daemon=True).start()
        if wait:
            self.blocks.block_thread()
        return str(address)

    def close(self) -> None:
        """Stop serving and delete every file of every session."""
        self.app.sessions.end_all()
        if self.blocks.is_running:
            self.blocks.close(verbose=False)
        self.scratch.remove()


def _warm_up() -> None:
    """Load the models that find faces, so that the first visitor does not wait for them."""
    faces_of(read_photo(demo_photo()))


def build_page(settings: Settings | None = None, *, network: Generator | None = None) -> Page:
    """Load the network and build the page; nothing is served yet.

    Args:
        settings: see :class:`Settings`.
        network: a loaded generator; None loads the one of ``settings``.

    Raises:
        MissingPackageError: gradio is not installed.
        CheckpointError, MissingWeightsError, UsageError: the network does not exist or cannot be read.
    """
    settings = settings or Settings()
    remove_abandoned(PREFIX)  # what a page that was killed has left of its visitors
    scratch = ScratchFolder(PREFIX)
    # Gradio reads from the environment where uploads go and whether to send analytics.
    os.environ["GRADIO_TEMP_DIR"] = str(scratch.path)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        require_gradio()
        from relatent.web.layout import lay_out

        share = cpu.respect_quota()  # now, because an inversion would call it later and override --threads
        torch.set_num_threads(settings.threads or max(1, share // 2))
        app = AppState.open(settings, scratch.path / "sessions", network)
        return Page(lay_out(app), app, scratch)
    except BaseException:
        scratch.remove()
        raise
