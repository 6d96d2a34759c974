"""How an embedded file was made, as data: the commands, the data they need, and the hours they take.

A recipe (``weights/NAME/recipe.toml``) holds

    machine          what the hours were measured on
    [data.KEY]       a file that is needed: file, sha256, about
    [sizes]          numbers that the commands mention, so that a trial run can be smaller
    [[steps]]        about, command, hours; makes: a file below the output folder; resumes: where that file is there,
                     the command goes on with --resume; trials = false: left out with other sizes, as it
                     looks for faces in pictures, and a trial's network draws none

Commands mention data as {KEY}, sizes as {NAME}, and the output folder as {out}. A command that came to its end leaves
FILE.done beside what it made, and is skipped the next time; the file alone may be a snapshot of a run that was stopped.
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
    """A file that a recipe needs: its usual name, hash, and what it is."""

    file: str
    sha256: str
    about: str


@dataclass(frozen=True)
class Work:
    """One command of a recipe, ready to be run.

    Attributes:
        about: what it does.
        command: its words, without the Python interpreter: ("-m", "stylegan", ...).
        makes: the file it leaves.
        resumes: the file whose presence says that an earlier try was stopped; None for a step that starts anew.
        hours: how long it took.
    """

    about: str
    command: tuple[str, ...]
    makes: Path
    hours: float
    resumes: Path | None = None

    def line(self) -> str:
        """As a person would type it."""
        return shlex.join(("python", *self.command))

    @property
    def done(self) -> bool:
        """Whether exactly this command has come to its end, and left what it makes."""
        return self.makes.is_file() and self.line() in self._marks()

    def mark_done(self) -> None:
        """Remember that the command has come to its end."""
        lines = [*self._marks(), self.line()]  # one file may be made by several commands, each going on with it
        write_bytes(self._mark, "".join(f"{line}\n" for line in lines).encode())

    def _marks(self) -> list[str]:
        return self._mark.read_text().splitlines() if self._mark.is_file() else []

    @property
    def _mark(self) -> Path:
        return self.makes.with_name(f"{self.makes.name}.done")


@dataclass(frozen=True)
class Recipe:
    """How an embedded file was made; see the top of this file."""

    name: str
    machine: str
    data: dict[str, Needed]
    sizes: dict[str, float]
    steps: tuple[dict[str, Any], ...]

    def work(self, places: Mapping[str, Path], out: Path, sizes: Mapping[str, float]) -> list[Work]:
        """The commands with every name filled in; with other ``sizes``, those that a trial can do.

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
    """Embedded files that say how they were made."""
    return sorted(file.parent.name for file in FOLDER.glob(f"*/{RECIPE}"))


@functools.cache
def read_recipe(name: str) -> Recipe:
    """The recipe of an embedded file.

    Raises:
        UnknownNameError: none of that name.
    """
    if name not in recipe_names():
        raise UnknownNameError("recipe", name, recipe_names())
    table = read_toml(FOLDER / name / RECIPE)
    data = {key: Needed(**value) for key, value in table["data"].items()}
    return Recipe(name, table["machine"], data, table["sizes"], tuple(table["steps"]))


def describe(recipe: Recipe, work: list[Work], places: Mapping[str, Path]) -> str:
    """Everything that would be done, for a person."""
    lines = [f"{recipe.name}: {sum(step.hours for step in work):g} hours in all on {recipe.machine}", "", "data"]
    for key, needed in recipe.data.items():
        state = check(needed, places[key]) if key in places else f"give it with --data {key}=FILE"
        lines += [f"  {key}: {needed.file}, {needed.about}", f"    sha256 {needed.sha256}", f"    {state}"]
    for number, step in enumerate(work, start=1):
        lines += ["", f"{number}. {step.about} ({step.hours:g} hours)", f"    {step.line()}", f"    makes {step.makes}"]
    return "\n".join(lines)


def check(needed: Needed, path: Path) -> str:
    """What can be said of a file of a recipe's data, in words."""
    if not path.is_file():
        return f"{path} does not exist"
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    found = digest.hexdigest()
    return AS_IT_WAS if found == needed.sha256 else f"{path} is another file: sha256 {found}"


def missing_modules(work: list[Work]) -> list[str]:
    """Top-level modules that commands run and that cannot be found: some are in the repository alone."""
    wanted = {step.command[1].partition(".")[0] for step in work if step.command[0] == "-m"}
    return sorted(name for name in wanted if importlib.util.find_spec(name) is None)


def carry_out(recipe: Recipe, work: list[Work], places: Mapping[str, Path], *, tell: Tell, same_data: bool) -> None:
    """Check the data and run the commands, one after the other; what is made already is skipped.

    Args:
        recipe: of the embedded file.
        work: its commands.
        places: where each of its data lies.
        tell: hears in a line what is going on.
        same_data: refuse data that are not the recipe's own.

    Raises:
        UsageError: data that were not named, or a command that is not here.
        DatasetError: data that are missing or, with ``same_data``, other than they were.
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
