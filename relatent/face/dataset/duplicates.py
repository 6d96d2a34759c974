"""Duplicates among faces, by perceptual hashes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def duplicates(hashes: Sequence[str], sides: Sequence[float], most_alike: int) -> dict[int, int]:
    """Which faces are left out, and the face that each repeats.

    Of faces that look the same, the one with the largest crop is kept.

    Args:
        hashes: hexadecimal, all of one length.
        sides: of the crops in photo pixels.
        most_alike: largest number of differing bits between faces that are the same; negative to keep all.

    Returns:
        indices of faces to leave out: the index of the face that is kept.
    """
    if most_alike < 0 or not hashes:
        return {}
    bits = np.stack([np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8)) for text in hashes])
    kept: list[int] = []
    chosen = np.empty_like(bits)  # the first len(kept) rows are those of the faces kept
    repeated = {}
    for index in sorted(range(len(hashes)), key=lambda one: (-sides[one], one)):
        differing = np.count_nonzero(chosen[: len(kept)] != bits[index], axis=1)
        nearest = int(differing.argmin()) if kept else 0
        if kept and differing[nearest] <= most_alike:
            repeated[index] = kept[nearest]
        else:
            chosen[len(kept)] = bits[index]
            kept.append(index)
    return repeated
