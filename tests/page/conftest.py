"""What tests of the page may use."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def whole_page():
    """The page with the embedded network, built once and not served; every test begins a visit of its own."""
    import asyncio

    from page import build_page

    async def build():  # inside a running event loop: Gradio would open others and leave them open
        return build_page()

    made = asyncio.run(build())
    yield made
    made.close()
