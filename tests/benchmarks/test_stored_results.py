"""The stored results name settings as the code does."""

import dataclasses
import json
from pathlib import Path

import pytest

from inversion.presets import LbfgsSettings, OptimiserSettings, Plan, TuningSettings

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
STAGES = {"optimiser": OptimiserSettings, "refinement": OptimiserSettings, "tuning": TuningSettings}


def names(kind):
    return {field.name for field in dataclasses.fields(kind)}


def plans(value):
    """Every dictionary in ``value`` that describes a plan."""
    if isinstance(value, dict):
        if "optimiser" in value and "precision" in value:
            yield value
        for one in value.values():
            yield from plans(one)
    elif isinstance(value, list):
        for one in value:
            yield from plans(one)


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*.json")), ids=lambda file: file.name)
def test_settings_have_their_present_names(file):
    for plan in plans(json.loads(file.read_text())):
        assert set(plan) <= names(Plan)
        for stage, kind in STAGES.items():
            settings = plan.get(stage) or {}
            assert set(settings) <= names(kind), stage
            assert set(settings.get("lbfgs") or {}) <= names(LbfgsSettings), stage
