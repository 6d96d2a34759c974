import copy
import dataclasses

import pytest
from kept_answers import dlib_is_asked_once  # noqa: F401

from inversion import presets as settings


@pytest.fixture
def few_steps(monkeypatch):
    """Presets of four steps, so that commands can be tested in a second."""

    def quick_one(plan):
        stages = {name: getattr(plan, name) for name in ("refinement", "optimiser", "tuning")}
        short = {name: stage and dataclasses.replace(stage, num_steps=4) for name, stage in stages.items()}
        return dataclasses.replace(plan, **short)

    for table in ("PRESETS", "PRECONDITIONED_PRESETS"):
        quick = {name: quick_one(plan) for name, plan in getattr(settings, table).items()}
        monkeypatch.setattr(settings, table, quick)


_measured = []  # once: every test has the same tiny network


@pytest.fixture
def tiny_preconditioner(tiny_generator):
    """Of the tiny network, all its directions that a few hundred probes know."""
    from inversion.optim.preconditioner import PreconditionerSettings, measure_preconditioner

    if not _measured:
        _measured.append(measure_preconditioner(tiny_generator, PreconditionerSettings(pictures=32, probes=4, rank=96)))
    return copy.deepcopy(_measured[0])
