"""The command `python -m stylegan tune`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import click

from relatent.core.command import PATH, RelatentCommand, config_options, device_option
from relatent.core.device import pick_device
from relatent.core.errors import RelatentError, UsageError
from relatent.core.numbers import readable
from relatent.core.results import require_replaceable
from stylegan.measuring.features import BackboneFeatures, Features, InceptionFeatures
from stylegan.training.options import settings_from_options
from stylegan.training.recipe_file import NOT_OF_A_RECIPE, filled_options, read_recipe, was_typed, write_recipe
from stylegan.training.run import open_pictures
from stylegan.training.settings import TrainingSettings
from stylegan.tuning.config import TuneConfig
from stylegan.tuning.folds import Pictures
from stylegan.tuning.page import PAGE_FILE, write_page
from stylegan.tuning.search import (
    BATCHES,
    STUDY_FILE,
    folds_and_batches,
    import_optuna,
    open_study,
    require_own_study,
    search,
    with_parameters,
)

RECIPE_FILE = "recipe.json"
RUN_ONLY = (  # options of train that say nothing about how well it trains
    "outdir", "kimg", "minutes", "resume", "grow_from", "validation_folder", "tick", "snap", "video", "tensorboard",
    "device", "dry_run",
)  # fmt: skip


@click.command("tune", cls=RelatentCommand, context_settings={"ignore_unknown_options": True})
@click.option("--data", required=True, metavar="FILE_OR_FOLDER", help="Training pictures, as for train.")
@click.option("--outdir", required=True, type=PATH, help="Folder for the search, the best recipe and a page.")
@config_options(TuneConfig)
@click.option("--inception", is_flag=True, help="Score by Inception's KID, not by the embedded backbone's.")
@device_option
@click.argument("options_of_train", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def tune_command(
    context: click.Context,
    /,
    data: str,
    outdir: Path,
    inception: bool,
    device: str | None,
    options_of_train: tuple[str, ...],
    **options: Any,
) -> None:
    """Search for R1's weight, learning rate, augmentation and batch.

    Each recipe is trained in short runs, one for each fold of the data, which is held out and which KID is measured
    on. Recipes worse than the median so far are given up early. A second call with the same --outdir goes on.

    Options of train, such as --arch mlp or --resolution 32, say what is trained: the search starts from them. The best
    recipe is OUTDIR/recipe.json, for train --recipe.
    """
    config, where = TuneConfig(**options), pick_device(device)
    import_optuna()
    require_room(outdir)
    base, typed = base_settings(context, data, outdir, options_of_train)
    network: Features = InceptionFeatures(where) if inception else BackboneFeatures(where)
    images, classes = open_pictures(base, progress=True)
    folds_and_batches(base, len(images), config)  # before there is a study, which would bind later calls
    pictures = Pictures(images, classes, network.of(images)[0])
    study = open_study(outdir, config, identity_of(base, config, network, pictures))

    def show(trial: Any) -> None:
        found = (
            f"{readable(trial.value)} +- {readable(trial.user_attrs['spread'], 2)}"
            if trial.value is not None
            else "given up"
        )
        if "scores" not in trial.user_attrs:
            found = "diverged" if trial.user_attrs.get("diverged") else "given up early"
        shown = ", ".join(f"{name} {readable(value)}" for name, value in trial.params.items())
        click.echo(f"recipe {trial.number}: {shown}: {found}")
        write_results(study, outdir, base, typed, network.origin)

    search(study, base, pictures, network, config, where, show)
    if not write_results(study, outdir, base, typed, network.origin):
        raise RelatentError("no recipe was trained to its end. Raise --trials or --warmup-trials.")
    click.echo(f"recipe: {outdir / RECIPE_FILE}\npage:   {outdir / PAGE_FILE}")


def require_room(outdir: Path) -> None:
    """Check that a search would replace no file of somebody else.

    Raises:
        UsageError: it would.
        CheckpointError: the study's file is damaged.
    """
    require_replaceable([outdir / RECIPE_FILE], "--outdir")
    require_own_study(outdir / STUDY_FILE)
    if (outdir / PAGE_FILE).exists() and not (outdir / STUDY_FILE).exists():
        raise UsageError(f"{outdir / PAGE_FILE} is not of a search. Move it, or choose another --outdir.")


def base_settings(
    context: click.Context, data: str, outdir: Path, options: tuple[str, ...]
) -> tuple[TrainingSettings, dict[str, Any]]:
    """The settings that the search starts from, and the options of train that were given, for the new recipe.

    Those of a recipe given with --recipe count as given, too; typed ones win.
    """
    assert context.parent is not None
    group = context.parent.command
    assert isinstance(group, click.Group)
    train = group.get_command(context.parent, "train")
    assert train is not None
    arguments = ["--data", data, "--outdir", str(outdir), *options]
    try:
        inner = train.make_context("train", arguments, parent=context.parent)
    except click.UsageError as error:
        raise UsageError(f"{error.format_message()} Options of tune: --help; of train: train --help.") from error
    with inner.scope():
        values = filled_options(inner)
        typed = {name: value for name, value in values.items() if was_typed(name, inner)}
        source = inner.params.get("recipe")
        given = read_recipe(source, train) if source else {}
    refused = sorted(set(typed) & {"resume", "grow_from", "validation_folder", "kimg", "minutes", "dry_run"})
    if refused:
        raise UsageError(f"--{refused[0].replace('_', '-')} has no meaning for tune. Leave it out.")
    kept = {name: value for name, value in typed.items() if name not in (*RUN_ONLY, *NOT_OF_A_RECIPE)}
    return settings_from_options(**{k: v for k, v in values.items() if k not in RUN_ONLY}), {**given, **kept}


def identity_of(base: TrainingSettings, config: TuneConfig, network: Features, pictures: Pictures) -> str:
    """A hash of all that scores depend on, except the parameters searched."""
    parts = [base.to_json(), network.origin, len(pictures.images)]
    parts += [config.folds, config.run_kimg, config.checks, config.score_samples, config.search_seed]
    if any(batch % base.accumulate for batch in BATCHES):  # earlier versions tried these, too, and Optuna cannot go on
        parts.append("batches in equal parts")
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def write_results(study: Any, outdir: Path, base: TrainingSettings, typed: dict[str, Any], origin: str) -> bool:
    """Write the page, and the best recipe so far if one was trained to its end; returns whether one was."""
    write_page(study, outdir, origin)
    complete = [trial for trial in study.trials if "scores" in trial.user_attrs and trial.value is not None]
    if not complete:
        return False
    best = min(complete, key=lambda trial: trial.value)
    found = {
        "kid_x_1000": best.value,
        "spread": best.user_attrs["spread"],
        "folds": best.user_attrs["scores"],
        "features": origin,
        "trial": best.number,
    }
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in typed.items()}
    # In the search the half-life follows the batch; in train, one that was given or is a default of the data does not.
    half_life = {"ema_kimg": with_parameters(base, best.params).ema_kimg}
    write_recipe(outdir / RECIPE_FILE, {**plain, **best.params, **half_life}, found)
    return True
