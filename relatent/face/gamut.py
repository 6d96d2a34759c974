"""Limits the colours of an edited drawing to those that the face has.

Beyond what it has learned, a generator exaggerates colour first: the lips of a broad smile that is made broader turn
purple. A face keeps its range of colours in other edits than those of its whole colour, which shift the range.
"""

from __future__ import annotations

import numpy as np

from relatent.face.flow import largest, smooth_step

# Luminance and two differences of colour, which keep their meaning at any brightness (ITU-R BT.601, full range)
TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
FROM_YCC = np.linalg.inv(TO_YCC)
TAIL = 0.01  # share of the face's pixels at either end of the range that may be outliers
WIDER = 1.2  # times the range around its mean
SURE = 8.0  # levels of change from which the limit holds fully; where nothing changes, nothing is limited
SAMPLED = 20_000  # pixels, enough for a range
LEAST = 16  # pixels of a face; fewer have no range


def within_own_colours(edited: np.ndarray, before: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The edited drawing with its colour, not its brightness, limited to the range of the face.

    Args:
        edited: float32 [R, R, 3] from 0 to 255, the drawn face after the edit.
        before: the same before it.
        inside: bool [R, R], where the face is.

    Returns:
        float32 [R, R, 3].
    """
    step = max(1, int(inside.sum()) // SAMPLED)
    own, now = (one[inside][::step] @ TO_YCC[1:].T for one in (before, edited))
    if len(own) < LEAST:
        return edited
    low, high = np.quantile(own, (TAIL, 1 - TAIL), axis=0).astype(np.float32) - own.mean(axis=0)
    middle = now.mean(axis=0)
    colour = edited @ TO_YCC[1:].T
    beyond = colour - np.clip(colour, middle + WIDER * low, middle + WIDER * high)
    if not beyond.any():
        return edited
    beyond *= smooth_step(largest(edited - before) / SURE)[..., None]
    return np.asarray(edited - beyond @ FROM_YCC[:, 1:].T, np.float32)
