"""Formats names and lists for messages."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Sequence

ESCAPE = "relatent-escape"  # how text is encoded that an encoding cannot hold


def listed(names: Sequence[str], most: int = 20, *, count: int | None = None) -> str:
    """Names separated by commas, at most ``most``, and the number of further ones.

    ``count`` says how many there are, if only the first are given.
    """
    count = len(names) if count is None else count
    more = f" and {count - most} more" if count > most else ""
    return f"{', '.join(names[:most])}{more}"


def printable(text: str) -> str:
    """Text that UTF-8 can hold: bytes of a file name that are no UTF-8, as Python keeps them, become ``\\xe9``."""
    return text.encode("utf-8", ESCAPE).decode()


def stored(text: str) -> str:
    """Text for a file in UTF-8, from which :func:`restored` makes the same again, whatever a file name held."""
    return json.dumps(text) if text.startswith('"') or printable(text) != text else text


def restored(text: str) -> str:
    """What :func:`stored` was given."""
    try:
        return str(json.loads(text)) if text.startswith('"') else text
    except ValueError:
        return text


def make_output_printable() -> None:
    """Let standard output and error take any name: what the console's encoding lacks is written as an escape."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and getattr(stream, "errors", None) in ("strict", "backslashreplace"):
            reconfigure(errors=ESCAPE)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    # A byte that is no UTF-8 comes as a surrogate from U+DC80 on (PEP 383).
    text = "".join(
        f"\\x{ord(letter) - 0xDC00:02x}" if 0xDC80 <= ord(letter) <= 0xDCFF else ascii(letter)[1:-1]
        for letter in letters
    )
    return text, error.end


codecs.register_error(ESCAPE, _escaped)
