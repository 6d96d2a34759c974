"""Limits on the cost of reading an untrusted file, and the exceptions with which it is refused."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from relatent.core.archive import ArchiveError
from relatent.core.errors import CheckpointError

MAX_STEPS = 500_000  # pickle instructions; a 1024 px network with its optimiser has about 100,000
MAX_CHARACTERS = 2**24  # total length of all strings
AGAIN = "Copy or download it again."
ELSEWHERE = "Get the network from its author's own page."
HINTS = {
    "dnnlib.tflib": "It is a TensorFlow network of NVIDIA's; make a PyTorch one of it with their own script: "
    "python legacy.py --source=IN.pkl --dest=OUT.pkl, in the repository stylegan2-ada-pytorch or stylegan3.",
    "torch.nn": "It holds a whole module; save its state_dict() instead.",
    "torch.jit": "It holds a program; save the model's state_dict() instead.",
}


class Refusal(Exception):  # noqa: N818 - turned into a CheckpointError by `refusals`
    """The reason why a file is not read; the message continues a sentence that starts with the file name."""


class Overspent(Refusal):
    """A file that costs too much to read; no part of it is read."""


def damaged(detail: str) -> Refusal:
    return Refusal(f"is damaged or cut short ({detail}). {AGAIN}")


def unknown_name(name: str) -> Refusal:
    """The refusal of a name that a pickle wants to import."""
    hint = next((hint for prefix, hint in HINTS.items() if name.startswith(prefix)), ELSEWHERE)
    return Refusal(
        f"asks to import {ascii(name)[1:-1]:.120}; a network file has no need of that. Nothing was run. {hint}"
    )


@dataclass
class Budget:
    """The remaining budget for reading a file, shared by the pickles nested in it.

    Attributes:
        bulk: bytes of tensors and arrays, initially the length of the file.
        steps: pickle instructions, and items of copied containers.
        characters: of text.
    """

    bulk: int
    steps: int = MAX_STEPS
    characters: int = MAX_CHARACTERS

    def spend_bulk(self, count: int) -> None:
        """Spend ``count`` bytes; must be called before they are allocated."""
        self.bulk -= count
        if self.bulk < 0:
            raise Overspent(f"claims more data than it holds ({count} bytes at once). {AGAIN}")

    def spend_steps(self, count: int) -> None:
        self.steps -= count
        if self.steps < 0:
            raise Overspent(f"takes more than {MAX_STEPS} pickle instructions; no network needs that. {ELSEWHERE}")

    def spend_characters(self, count: int) -> None:
        self.characters -= count
        if self.characters < 0:
            raise Overspent(f"holds more than {MAX_CHARACTERS} characters of text; no network needs that. {ELSEWHERE}")


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Context manager that turns refusals, and errors of zipfile, the system and PyTorch, into a CheckpointError.

    Raises:
        CheckpointError: in place of those.
    """
    try:
        yield
    except Refusal as error:
        raise CheckpointError(f"{path} {error}") from error
    except (
        ArchiveError,
        struct.error,
        EOFError,
        OSError,
        MemoryError,
        NotImplementedError,
        OverflowError,
        RuntimeError,
        UnicodeDecodeError,
    ) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise CheckpointError(f"{path} {damaged(reason)}") from error
