import dataclasses

import pytest

from inversion import settings


@pytest.fixture
def few_steps(monkeypatch):
    """Presets of four steps, so that commands can be tested in a second."""

    def quick_one(plan):
        stages = {name: getattr(plan, name) for name in ("optimiser", "tuning")}
        short = {name: stage and dataclasses.replace(stage, num_steps=4) for name, stage in stages.items()}
        return dataclasses.replace(plan, **short)

    quick = {name: quick_one(plan) for name, plan in settings.PRESETS.items()}
    monkeypatch.setattr(settings, "PRESETS", quick)
