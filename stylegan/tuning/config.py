"""The choices of `python -m stylegan tune`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stylegan.bounds import require_number, require_whole


def whole(default: int, text: str, least: int = 1) -> Any:
    return field(default=default, metadata={"help": text, "least": least})


@dataclass(frozen=True)
class TuneConfig:
    """Choices of a search; the command line's options are made from the fields."""

    trials: int = whole(20, "Recipes to try in all, those of an earlier call included.")
    folds: int = whole(3, "Parts that the data are split into; each is held out once.", 2)
    run_kimg: float = field(default=20.0, metadata={"help": "Thousands of pictures each short run trains on."})
    checks: int = whole(3, "Times in a run that it is scored, and may be pruned.")
    score_samples: int = whole(500, "Pictures drawn for each score.", 2)
    warmup_trials: int = whole(4, "Recipes tried in full before any is pruned.", 0)
    search_seed: int = field(default=0, metadata={"help": "Of the search and of the folds."})

    def __post_init__(self) -> None:
        require_whole("trials", self.trials, 1, 10**5)
        require_whole("folds", self.folds, 2, 100)
        require_number("run_kimg", self.run_kimg, 1e-3)
        require_whole("checks", self.checks, 1, 1000)
        require_whole("score_samples", self.score_samples, 2, 10**6)
        require_whole("warmup_trials", self.warmup_trials, 0, 10**5)
        require_whole("search_seed", self.search_seed, 0, 2**32 - 1)
