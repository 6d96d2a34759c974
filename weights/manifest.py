"""Reads and checks the manifest: which published weights exist, their addresses, hashes and licences."""

from __future__ import annotations

import dataclasses
import functools
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relatent.core.alignment import Alignment
from relatent.core.errors import UnknownNameError, WeightsError

FILE = Path(__file__).with_name("manifest.toml")
KINDS = ("generator", "encoder", "lpips backbone", "metric network", "direction")
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
FILENAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # no folder, no hidden file
SHA256 = re.compile(r"[0-9a-f]{8,64}")
URL = re.compile(r"https://[A-Za-z0-9.-]+(/\S*)?")


@dataclass(frozen=True)
class Entry:
    """Weights published by others.

    Attributes:
        name: as commands and :func:`stylegan.load` take it.
        kind: one of ``KINDS``.
        filename: of the published file, also used in the cache.
        urls: addresses of the same bytes, best first. Empty: to be downloaded by hand.
        licence: in words.
        licence_url: its text.
        non_commercial: whether the licence excludes commercial use.
        origin: the publisher's page.
        paper: the page of the paper.
        bytes: size; None where none is published.
        sha256: published hash in lower-case hex, or its first 8 characters or more; None where none is published.
        resolution: of a generator's pictures, or of the generator that an encoder belongs to.
        alignment: the face crop it was trained on; None if it was not trained on aligned faces.
    """

    name: str
    kind: str
    filename: str
    urls: tuple[str, ...]
    licence: str
    licence_url: str
    non_commercial: bool
    origin: str
    paper: str
    bytes: int | None = None
    sha256: str | None = None
    resolution: int | None = None
    alignment: Alignment | None = None


FIELDS = {field.name: field for field in dataclasses.fields(Entry) if field.name != "name"}
TYPES: dict[str, type] = {"urls": list, "non_commercial": bool, "bytes": int, "resolution": int, "alignment": list}


def entries() -> dict[str, Entry]:
    """All entries of the manifest by name, in its order.

    Raises:
        WeightsError: the manifest is damaged.
    """
    return read_manifest(FILE)


def find_entry(name: str) -> Entry:
    """The entry called ``name``.

    Raises:
        UnknownNameError: there is none of that name; the message suggests similar names.
    """
    known = entries()
    if name not in known:
        raise UnknownNameError("weights", name, known)
    return known[name]


@functools.lru_cache(maxsize=4)
def read_manifest(path: Path) -> dict[str, Entry]:
    """Read and check a manifest file.

    Raises:
        WeightsError: unreadable, not TOML, or an entry with missing, unknown or impossible fields.
    """
    return {name: _entry(name, table, path) for name, table in read_toml(path).items()}


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file of this package.

    Raises:
        WeightsError: unreadable, or not TOML.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # not at the top: most uses of this package need no parser

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise WeightsError(f"{path} cannot be read as a manifest: {error}. Install Relatent again.") from error


def _entry(name: str, table: Any, path: Path) -> Entry:
    """One table as an Entry; ``path`` is for error messages only."""
    where = f"{path}, [{name}]"
    if not isinstance(table, dict):
        raise WeightsError(f"{where}: expected a table.")
    required = {key for key, field in FIELDS.items() if field.default is dataclasses.MISSING}
    for fault, keys in (("is missing", required - set(table)), ("is not a known field", set(table) - set(FIELDS))):
        if keys:
            raise WeightsError(f"{where}: {', '.join(sorted(keys))} {fault}.")
    for key, value in table.items():
        expected = TYPES.get(key, str)
        if type(value) is not expected:  # not isinstance, for which true is an integer
            raise WeightsError(f"{where}: {key} is {value!r}; expected {expected.__name__}.")
    _check_values(name, table, where)
    values = dict(table, urls=tuple(table["urls"]))
    if "alignment" in table:
        values["alignment"] = Alignment(*table["alignment"])
    return Entry(name=name, **values)


def _check_values(name: str, table: dict[str, Any], where: str) -> None:
    """Raises a WeightsError for the first value that has the right type but is not valid."""
    pages = (table["licence_url"], table["origin"], table["paper"])
    alignment = table.get("alignment", [1.0, 0.0])
    rules = (
        (NAME.fullmatch(name), "the name must be lower-case words joined by hyphens"),
        (table["kind"] in KINDS, f"kind must be one of {', '.join(KINDS)}"),
        (FILENAME.fullmatch(table["filename"]), "filename must be a plain file name"),
        (all(map(_is_https, (*table["urls"], *pages))), "urls and pages must be https addresses"),
        (table["licence"], "licence must not be empty"),
        (table.get("bytes", 1) > 0 and table.get("resolution", 1) > 0, "bytes and resolution must be positive"),
        (SHA256.fullmatch(table.get("sha256", "0" * 64)), "sha256 must be 8 to 64 lower-case hex digits"),
        (len(alignment) == 2 and all(type(x) is float for x in alignment), "alignment must be [scale, shift]"),
    )
    for holds, rule in rules:
        if not holds:
            raise WeightsError(f"{where}: {rule}.")


def _is_https(url: Any) -> bool:
    return isinstance(url, str) and URL.fullmatch(url) is not None
