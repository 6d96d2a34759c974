"""Recipes: files of options that `python -m stylegan tune` writes and `train --recipe` reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from relatent.core.command import check_numbers
from relatent.core.errors import UsageError
from relatent.core.files import write_bytes
from stylegan.bounds import shown
from stylegan.training.recipes import defaults_for

FORMAT = "relatent-recipe-1"
NOT_OF_A_RECIPE = {"recipe", "resume", "grow_from", "outdir", "help", "dry_run"}  # belong to one run on one machine
MAX_BYTES = 2**20


def write_recipe(path: Path, options: dict[str, Any], found: dict[str, Any]) -> None:
    """Write options of train, by their names in Python, and what is known of the result."""
    text = json.dumps({"format": FORMAT, "options": options, "found": found}, indent=2)
    write_bytes(path, text.encode())


def read_recipe(path: Path, command: click.Command) -> dict[str, Any]:
    """The options of a recipe, checked as if they had been typed.

    Args:
        path: the file.
        command: the train command, which knows the options.

    Raises:
        UsageError: it cannot be read, is no recipe, or holds an option or a value that train does not take.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        recipe = json.loads(path.read_text(encoding="utf-8"))
        if recipe["format"] != FORMAT:
            raise ValueError(f"its format is {shown(recipe['format'])}")
        options = dict(recipe["options"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            f"{path} cannot be used as a recipe ({type(error).__name__}: {error!s:.100}); "
            "expected a file written by python -m stylegan tune."
        ) from error
    known = {param.name: param for param in command.params if param.name not in NOT_OF_A_RECIPE}
    context = click.Context(command)
    for name, value in options.items():
        if name not in known:
            raise UsageError(f"{path} sets {shown(name)}, which is no option of train that a recipe may set.")
        try:
            usual = known[name].get_default(context)
            if value is None and isinstance(usual, str | float | int | tuple):  # others compute theirs from None
                raise ValueError(f"expected a value such as {usual}")
            options[name] = known[name].type_cast_value(context, value)
            check_numbers(name, options[name])
        except (click.BadParameter, TypeError, ValueError, UsageError) as error:
            raise UsageError(f"{path} sets {name} to {shown(value)}: {error!s:.200}") from error
    return options


def filled_options(context: click.Context, arch: str | None = None) -> dict[str, Any]:
    """The options of a train command: typed ones first, then the recipe's, then defaults.

    Args:
        context: of the command.
        arch: whose defaults are meant, where a network decides it; None for that of --arch.
    """
    given = given_options(context)
    options = {**context.params, **given}
    defaults = defaults_for(arch or options["arch"], options["data"])
    options = {**context.params, **defaults, **given}
    options.pop("recipe")
    return options


def given_options(context: click.Context) -> dict[str, Any]:
    """The options that are no defaults: typed ones first, then the recipe's."""
    typed = {name: value for name, value in context.params.items() if was_typed(name, context)}
    recipe = read_recipe(typed["recipe"], context.command) if "recipe" in typed else {}
    return {**recipe, **typed}


def was_typed(name: str, context: click.Context | None = None) -> bool:
    """Whether an option was given on the command line, as opposed to being a default."""
    return (context or click.get_current_context()).get_parameter_source(name) is ParameterSource.COMMANDLINE
