"""The Edit tab's handlers, without a browser."""

import pytest
from wiring import widget

from editing.pasting import BLENDS

pytest.importorskip("gradio")


def test_before_the_first_face_the_controls_keep_values_that_can_be_used(page, session):
    """A slider that is moved then must not send back a value that no control can have."""
    from relatent.web.tabs.edit import Controls, _Handlers

    controls = Controls(None)
    controls.sliders = dict.fromkeys(page.app.directions)
    values = _Handlers(page.app, controls)._show(session)[1:-4]
    assert values[-1] in BLENDS
    assert values[: len(controls.sliders)] == [0.0] * len(controls.sliders)


def test_every_slider_says_what_more_of_it_means(page):
    for name, direction in page.app.directions.items():
        assert widget(page.blocks, f"slider-{name}").info == direction.facts["up"]
