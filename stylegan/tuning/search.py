"""The search over recipes with Optuna: resumable, pruned by the median."""

from __future__ import annotations

import dataclasses
import math
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from relatent.core.errors import CheckpointError, MissingPackageError, RelatentError, UsageError
from relatent.core.files import output_errors
from stylegan.bounds import LARGEST
from stylegan.measuring.features import Features
from stylegan.training.loss import usual_r1_gamma
from stylegan.training.settings import TrainingSettings
from stylegan.tuning.config import TuneConfig
from stylegan.tuning.folds import Pictures, cross_validate, mean_and_spread, split

STUDY_FILE = "study.db"
STUDY = "recipes"
TABLES = re.compile(r"(study|trial)_\w+|studies|trials|version_info|alembic_version")  # of Optuna's databases
BATCHES = (8, 16, 32, 64)
PLAIN_GAMMA = 0.05  # middle of the range of R1's weight where the rule gives a smaller one
FACTOR = 30.0  # the range of R1's weight reaches from its middle so far up and down
LEAST_GAMMA = 1e-12  # a logarithmic range cannot begin at 0
LEARNING_RATES = (2e-4, 8e-3)
MOST_AUGMENT = 0.8


def open_study(outdir: Path, config: TuneConfig, identity: str) -> Any:
    """The Optuna study in OUTDIR/study.db, new or with the trials of earlier calls.

    A trial that a killed call left behind is tried again.

    Args:
        outdir: the folder.
        config: the choices.
        identity: what scores depend on; trials with another cannot be compared.

    Raises:
        MissingPackageError: Optuna is not installed.
        UsageError: the folder's study has other settings, or is somebody else's.
        CheckpointError: the file is no study.
    """
    optuna = import_optuna()
    file = outdir / STUDY_FILE
    require_own_study(file)
    existed = file.exists()
    with output_errors(file):
        outdir.mkdir(parents=True, exist_ok=True)
        file.touch()
    try:
        study = optuna.create_study(
            storage=f"sqlite:///{file.absolute()}",
            study_name=STUDY,
            direction="minimize",
            sampler=optuna.samplers.TPESampler(seed=config.search_seed, multivariate=False),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=config.warmup_trials),
            load_if_exists=True,
        )
    except Exception as error:  # SQLAlchemy's errors have no common base with Optuna's
        raise _no_study(file, error) from error
    known = study.user_attrs.get("identity")
    # A call killed early leaves a study without identity, but then it has no trials either.
    if existed and known != identity and (known is not None or study.get_trials(deepcopy=False)):
        raise UsageError(
            f"{outdir} holds a search with other settings, whose scores cannot be compared. "
            "Repeat the options of the first call, or choose another --outdir."
        )
    study.set_user_attr("identity", identity)
    running = optuna.trial.TrialState.RUNNING
    for trial in study.get_trials(deepcopy=False, states=(running,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        if trial.params:
            study.enqueue_trial(trial.params)
    return study


def require_own_study(file: Path) -> None:
    """Check that a database is missing, empty, or a search's: Optuna would add its tables to any other.

    Raises:
        UsageError: it holds something else.
        CheckpointError: it is no database, or a damaged one.
    """
    if not file.exists():
        return
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            ours = all(map(TABLES.fullmatch, tables))
            names = (
                {name for (name,) in database.execute("SELECT study_name FROM studies")} if ours and tables else set()
            )
    except sqlite3.Error as error:
        raise _no_study(file, error) from error
    if not ours or not names <= {STUDY}:
        raise UsageError(f"{file} is a database, but not of a search. Move it, or choose another --outdir.")


def _no_study(file: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{file} cannot be used as an Optuna study ({type(error).__name__}). Choose another --outdir."
    )


def search(
    study: Any,
    base: TrainingSettings,
    pictures: Pictures,
    network: Features,
    config: TuneConfig,
    device: torch.device,
    on_trial: Callable[[Any], None] | None = None,
) -> None:
    """Try recipes until the study holds ``config.trials`` finished or pruned ones.

    The first recipe is the base's own, so that the best one is never worse than that.

    Raises:
        as folds_and_batches.
    """
    optuna = import_optuna()
    folds, batches = folds_and_batches(base, len(pictures.images), config)
    middle = gamma_middle(base)
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(own_parameters(base, middle))

    def objective(trial: Any) -> float:
        settings = with_parameters(base, suggest(trial, middle, batches))

        def report(step: int, score: float) -> None:
            trial.report(score, step)
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            scores = cross_validate(
                settings,
                pictures,
                folds,
                network,
                kimg=config.run_kimg,
                checks=config.checks,
                samples=config.score_samples,
                device=device,
                report=report,
            )
        except (RelatentError, RuntimeError) as error:
            if not isinstance(error, RelatentError) or "diverged" not in str(error):
                raise
            trial.set_user_attr("diverged", True)
            raise optuna.TrialPruned from error
        mean, spread = mean_and_spread(scores)
        trial.set_user_attr("scores", scores)
        trial.set_user_attr("spread", spread)
        return mean

    def tell(_: Any, trial: Any) -> None:
        if on_trial:
            on_trial(trial)

    done = len(study.get_trials(deepcopy=False, states=finished_states()))
    if done < config.trials:
        study.optimize(objective, n_trials=config.trials - done, callbacks=[tell])


def folds_and_batches(base: TrainingSettings, count: int, config: TuneConfig) -> tuple[list[torch.Tensor], list[int]]:
    """The folds of ``count`` pictures, and the batches to try.

    Raises:
        DatasetError: too few pictures for the folds.
        UsageError: the folds leave fewer pictures than the base's batch.
    """
    folds = split(count, config.folds, config.search_seed)
    return folds, usable_batches(base, count - len(folds[0]))


def suggest(trial: Any, middle: float, batches: list[int]) -> dict[str, float]:
    """A recipe's parameters, by the names of train's options."""
    return {
        "lr": trial.suggest_float("lr", *LEARNING_RATES, log=True),
        "gamma": trial.suggest_float("gamma", *gamma_range(middle), log=True),
        "augment": trial.suggest_float("augment", 0.0, MOST_AUGMENT),
        "batch": trial.suggest_categorical("batch", batches),
    }


def own_parameters(base: TrainingSettings, middle: float) -> dict[str, float]:
    """The parameters of the base, moved into the search's range."""
    return {
        "lr": _within(base.learning_rate, *LEARNING_RATES),
        "gamma": _within(base.loss_weights.r1_gamma, *gamma_range(middle)),
        "augment": min(base.augment_strength, MOST_AUGMENT),
        "batch": base.batch,
    }


def with_parameters(base: TrainingSettings, parameters: dict[str, float]) -> TrainingSettings:
    """The base's settings with a recipe's parameters; the average's half-life grows with the batch."""
    batch = int(parameters["batch"])
    return dataclasses.replace(
        base,
        batch=batch,
        learning_rate=float(parameters["lr"]),
        augment_strength=float(parameters["augment"]),
        ema_kimg=min(base.ema_kimg * batch / base.batch, LARGEST),
        loss_weights=dataclasses.replace(base.loss_weights, r1_gamma=float(parameters["gamma"])),
    )


def gamma_middle(base: TrainingSettings) -> float:
    """Middle of the range of R1's weight, on a logarithmic scale."""
    rule = usual_r1_gamma(base.generator.resolution, base.batch)
    return base.loss_weights.r1_gamma or max(rule, PLAIN_GAMMA)


def gamma_range(middle: float) -> tuple[float, float]:
    """Least and largest weight of R1 to try; both are such as settings may have, whatever the middle."""
    return _within(middle / FACTOR, LEAST_GAMMA, LARGEST), _within(middle * FACTOR, LEAST_GAMMA, LARGEST)


def usable_batches(base: TrainingSettings, most: int) -> list[int]:
    """Batches to try, the base's own among them, none larger than the pictures trained on.

    All can be computed in the base's parts (--accumulate).
    """
    found = sorted({batch for batch in (*BATCHES, base.batch) if batch <= most and batch % base.accumulate == 0})
    if base.batch not in found:
        raise UsageError(f"--batch is {base.batch}, more than the {most} pictures trained on. Lower it.")
    return found


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def importances(study: Any) -> dict[str, float]:
    """Share of each parameter in the scores' variance, by fANOVA; empty before four recipes are through."""
    optuna = import_optuna()
    complete = [trial for trial in study.trials if trial.value is not None and math.isfinite(trial.value)]
    complete = [trial for trial in complete if trial.state == optuna.trial.TrialState.COMPLETE]
    if len(complete) < 4 or len({trial.value for trial in complete}) < 2:
        return {}
    fanova = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return dict(optuna.importance.get_param_importances(study, evaluator=fanova))


def finished_states() -> tuple[Any, ...]:
    """States of trials that count."""
    states = import_optuna().trial.TrialState
    return states.COMPLETE, states.PRUNED


def import_optuna() -> Any:
    """The module, quiet.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise MissingPackageError("optuna", "train", "searching for a recipe") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
