"""Reproduces embedded files from recipes: the commands that made them, their data, and the hours they take.

A recipe (``weights/NAME/recipe.toml``) holds

    machine          the machine on which the hours were measured
    [data.KEY]       a required file: file, sha256, about
    [sizes]          numbers used in the commands, so that a trial run can be smaller
    [[steps]]        about, command, hours; makes: a file below the output folder; resumes: if this file exists, the
                     command is run with --resume; trials = false: skipped with other sizes, because the step
                     detects faces in generated pictures, and the network of a short trial draws none

Commands refer to data as {KEY}, to sizes as {NAME}, and to the output folder as {out}. A command that has finished
leaves FILE.done beside its output, and is skipped the next time. The output alone does not suffice: it may be a
snapshot of an interrupted run.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relatent.core.errors import DatasetError, RelatentError, UnknownNameError, UsageError
from relatent.core.files import write_bytes
from weights.embedded import FOLDER
from weights.manifest import read_toml

RECIPE = "recipe.toml"
CHUNK = 2**20  # bytes hashed at once
AS_IT_WAS = "as it was"

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Needed:
    """A file that a recipe needs: its usual name, its hash, and a description."""

    file: str
    sha256: str
    about: str


@dataclass(frozen=True)
class Work:
    """One command of a recipe, ready to be run.

    Attributes:
        about: what it does.
        command: its arguments to the Python interpreter: ("-m", "stylegan", ...).
        makes: the file it writes.
        resumes: a file that exists if an earlier run was interrupted; None for a step that cannot be resumed.
        hours: how long it took.
    """

    about: str
    command: tuple[str, ...]
    makes: Path
    hours: float
    resumes: Path | None = None

    def line(self) -> str:
        """The command as typed in a shell."""
        return shlex.join(("python", *self.command))

    @property
    def done(self) -> bool:
        """Whether exactly this command has finished and its output exists."""
        return self.makes.is_file() and self.line() in self._marks()

    def mark_done(self) -> None:
        """Record that the command has finished."""
        lines = [*self._marks(), self.line()]  # several commands may work on one file in turn
        write_bytes(self._mark, "".join(f"{line}\n" for line in lines).encode())

    def _marks(self) -> list[str]:
        return self._mark.read_text().splitlines() if self._mark.is_file() else []

    @property
    def _mark(self) -> Path:
        return self.makes.with_name(f"{self.makes.name}.done")


@dataclass(frozen=True)
class Recipe:
    """How an embedded file was made; the fields are described at the top of this file."""

    name: str
    machine: str
    data: dict[str, Needed]
    sizes: dict[str, float]
    steps: tuple[dict[str, Any], ...]

    def work(self, places: Mapping[str, Path], out: Path, sizes: Mapping[str, float]) -> list[Work]:
        """The commands with all names filled in; with other ``sizes``, only those that a trial can run.

        Raises:
            UsageError: a size that the recipe does not have.
        """
        unknown = sorted(sizes.keys() - self.sizes.keys())
        if unknown:
            raise UnknownNameError("size", unknown[0], self.sizes)
        paths = {key: shlex.quote(str(places.get(key, Path(needed.file)))) for key, needed in self.data.items()}
        values = {**self.sizes, **sizes, **paths, "out": shlex.quote(str(out))}
        return [
            Work(
                about=step["about"],
                command=tuple(shlex.split(step["command"].format(**values))[1:]),
                makes=out / step["makes"].format(**values),
                hours=float(step["hours"]),
                resumes=out / step["resumes"] if "resumes" in step else None,
            )
            for step in self.steps
            if step.get("trials", True) or not sizes
        ]


def recipe_names() -> list[str]:
    """Names of the embedded files that have a recipe."""
    return sorted(file.parent.name for file in FOLDER.glob(f"*/{RECIPE}"))


@functools.cache
def read_recipe(name: str) -> Recipe:
    """The recipe of an embedded file.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if name not in recipe_names():
        raise UnknownNameError("recipe", name, recipe_names())
    table = read_toml(FOLDER / name / RECIPE)
    data = {key: Needed(**value) for key, value in table["data"].items()}
    return Recipe(name, table["machine"], data, table["sizes"], tuple(table["steps"]))


def describe(recipe: Recipe, work: list[Work], places: Mapping[str, Path]) -> str:
    """The recipe as readable text: data, commands and hours."""
    lines = [f"{recipe.name}: {sum(step.hours for step in work):g} hours in all on {recipe.machine}", "", "data"]
    for key, needed in recipe.data.items():
        state = check(needed, places[key]) if key in places else f"give it with --data {key}=FILE"
        lines += [f"  {key}: {needed.file}, {needed.about}", f"    sha256 {needed.sha256}", f"    {state}"]
    for number, step in enumerate(work, start=1):
        lines += ["", f"{number}. {step.about} ({step.hours:g} hours)", f"    {step.line()}", f"    makes {step.makes}"]
    return "\n".join(lines)


def check(needed: Needed, path: Path) -> str:
    """The state of a recipe's data file in words; AS_IT_WAS if it is the original."""
    if not path.is_file():
        return f"{path} does not exist"
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    sha256 = digest.hexdigest()
    return AS_IT_WAS if sha256 == needed.sha256 else f"{path} is another file: sha256 {sha256}"


def missing_modules(work: list[Work]) -> list[str]:
    """Top-level modules that the commands need but that are not installed: some exist only in the repository."""
    wanted = {step.command[1].partition(".")[0] for step in work if step.command[0] == "-m"}
    return sorted(name for name in wanted if importlib.util.find_spec(name) is None)


def carry_out(recipe: Recipe, work: list[Work], places: Mapping[str, Path], *, tell: Tell, same_data: bool) -> None:
    """Check the data and run the commands in order, skipping those that have finished before.

    Args:
        recipe: of the embedded file.
        work: its commands.
        places: path of each data file, by key.
        tell: called with a line of text for each command.
        same_data: refuse data whose hash differs from the recipe's.

    Raises:
        UsageError: a data file was not given, or a command's module is not installed.
        DatasetError: a data file is missing or, with ``same_data``, differs from the original.
        RelatentError: a command failed.
    """
    for key, needed in recipe.data.items():
        if key not in places:
            raise UsageError(f"{recipe.name} needs {needed.about}. Give it with --data {key}=FILE.")
        state = check(needed, places[key])
        if state != AS_IT_WAS and (same_data or not places[key].is_file()):
            raise DatasetError(f"data {key}: {state}; expected {needed.file}, sha256 {needed.sha256}.")
    if missing := missing_modules(work):
        raise UsageError(
            f"{recipe.name} is made by python -m {missing[0]}, too, which is no part of the installed package. "
            "Run this in a clone of the project."
        )
    for step in work:
        if step.done:
            tell(f"done before: {step.about}")
            continue
        tell(step.line())
        again = ["--resume"] if step.resumes and step.resumes.is_file() else []
        status = subprocess.run([sys.executable, *step.command, *again], check=False).returncode
        if status:
            raise RelatentError(f"stopped at: {step.about} (exit code {status}). The same command goes on from here.")
        step.mark_done()
