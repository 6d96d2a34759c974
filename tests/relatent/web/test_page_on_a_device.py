"""The page's job and its previews, with the network on a device that refuses what a GPU would."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
from pretend_device import DEVICE

from inversion import InvertConfig
from relatent.core.images import Photo
from relatent.web.actions.invert import inverting


def test_a_job_with_previews(pretend, app):
    app = dataclasses.replace(app, network=copy.deepcopy(app.network).to(DEVICE))
    photo = Photo(np.random.default_rng(0).integers(60, 200, (40, 50, 3), dtype=np.uint8), "me.png")
    shown = []

    def report(done, total, text="", *, picture=None, details=None):
        if picture:
            shown.append(picture())
        return True

    task = inverting(app, photo, None, InvertConfig(align=False, num_steps=3))
    found = task(report)
    assert found.drawn.shape == found.aligned.shape == (32, 32, 3)
    assert len(shown) == 3
    assert shown[0].shape == (32, 32, 3)
