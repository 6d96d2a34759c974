"""What reading one foreign file may cost, and how it is refused."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from relatent.core.archive import ArchiveError
from relatent.core.errors import CheckpointError

MAX_STEPS = 500_000  # pickle instructions; a 1024 px network with its optimiser has about 100,000
MAX_CHARACTERS = 2**24  # of all strings together
AGAIN = "Copy or download it again."
ELSEWHERE = "Get the network from its author's own page."
HINTS = {
    "dnnlib.tflib": "It is a TensorFlow network; expected a PyTorch one, which its authors' conversion script makes.",
    "torch.nn": "It holds a whole module; save its state_dict() instead.",
    "torch.jit": "It holds a program; save the model's state_dict() instead.",
}


class Refusal(Exception):  # noqa: N818 - the reader's decision, turned into a CheckpointError at the door
    """Why a file is not read, in words that follow its name."""


def damaged(detail: str) -> Refusal:
    return Refusal(f"is damaged or cut short ({detail}). {AGAIN}")


def unknown_name(name: str) -> Refusal:
    """Refuse a name that a pickle asks to import."""
    hint = next((hint for prefix, hint in HINTS.items() if name.startswith(prefix)), ELSEWHERE)
    return Refusal(
        f"asks to import {ascii(name)[1:-1]:.120}; a network file has no need of that. Nothing was run. {hint}"
    )


@dataclass
class Budget:
    """What is left to spend on a file; the pickles nested in it spend the same.

    Attributes:
        bulk: bytes of tensors and arrays: no file holds more than its own length.
        steps: pickle instructions, and items of containers that are copied.
        characters: of text.
    """

    bulk: int
    steps: int = MAX_STEPS
    characters: int = MAX_CHARACTERS

    def spend_bulk(self, count: int) -> None:
        """Take ``count`` bytes; call before allocating them."""
        self.bulk -= count
        if self.bulk < 0:
            raise Refusal(f"claims more data than it holds ({count} bytes at once). {AGAIN}")

    def spend_steps(self, count: int) -> None:
        self.steps -= count
        if self.steps < 0:
            raise Refusal(f"takes more than {MAX_STEPS} pickle instructions; no network needs that. {ELSEWHERE}")

    def spend_characters(self, count: int) -> None:
        self.characters -= count
        if self.characters < 0:
            raise Refusal(f"holds more than {MAX_CHARACTERS} characters of text; no network needs that. {ELSEWHERE}")


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn refusals, and what zip, the system and PyTorch say of damaged files, into a CheckpointError.

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
