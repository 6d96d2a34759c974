"""dlib's answers, kept by picture: most tests show it the demo's photo, and each time takes a good part of a second.

The answers depend on nothing but the arguments. dlib's own tests, in tests/relatent/face/, ask it every time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import numpy as np
import pytest

from relatent.face import landmarks

_answers: dict[tuple[Hashable, ...], Any] = {}
_detector, _predictor, _recogniser = landmarks._detector, landmarks._predictor, landmarks._recogniser


def _kept(ask: Callable[[], Any], name: str, pixels: np.ndarray, *about: Hashable) -> Any:
    key = (name, pixels.shape, hashlib.sha256(np.ascontiguousarray(pixels)).digest(), *about)
    if key not in _answers:
        _answers[key] = ask()
    return _answers[key]


def _edges(box: Any) -> tuple[int, ...]:
    return box.left(), box.top(), box.right(), box.bottom()


class _Models:
    """Stands for each of dlib's models."""

    def run(self, pixels: np.ndarray, *options: float) -> Any:
        return _kept(lambda: _detector().run(pixels, *options), "faces", pixels, *options)

    def __call__(self, pixels: np.ndarray, box: Any) -> Any:
        return _kept(lambda: _predictor()(pixels, box), "landmarks", pixels, _edges(box))

    def compute_face_descriptor(self, pixels: np.ndarray, face: Any) -> Any:
        points = tuple((part.x, part.y) for part in face.parts())
        ask = lambda: _recogniser().compute_face_descriptor(pixels, face)  # noqa: E731
        return _kept(ask, "descriptor", pixels, _edges(face.rect), points)


@pytest.fixture(autouse=True, scope="module")
def dlib_is_asked_once() -> Iterator[None]:
    """For the conftest.py of a folder whose tests are not about dlib."""
    models = _Models()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_detector", "_predictor", "_recogniser"):
            patch.setattr(landmarks, name, lambda: models)
        yield
