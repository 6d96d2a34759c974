"""Networks that are kin to StyleGAN and yet drawn in another way: known again by what they are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from relatent.core.errors import CheckpointError

CONSTANTS = ("synthesis.b4.const", "input.input")  # what a StyleGAN2 starts from, [..., height, width]


@dataclass(frozen=True)
class Relative:
    """A kind of network that is not read.

    Attributes:
        name: what its authors call it.
        why: what sets it apart.
        classes: of modules, one of which tells it.
        names: of tensors, all of which tell it together; each a pattern that is searched for.
        tells: whatever else does, of the tensors; None for nothing.
    """

    name: str
    why: str
    classes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    tells: Callable[[Mapping[Any, Any]], bool] | None = None


def _is_oblong(tensors: Mapping[Any, Any]) -> bool:
    for name, tensor in tensors.items():
        if isinstance(tensor, Tensor) and str(name).endswith(CONSTANTS) and tensor.ndim >= 2:
            return tensor.shape[-1] != tensor.shape[-2]
    return False


RELATIVES = (
    Relative(
        "StyleGAN-XL",
        "its classes are embedded by another network and its last layers are added on top",
        ("SuperresGenerator",),
        (r"(^|\.)mapping\.embed_proj\.",),
    ),
    Relative(
        "FastGAN or Projected GAN",
        "it draws from z directly and has no w",
        ("FastganSynthesis", "FastganSynthesisCond"),
        (r"(^|\.)feat_8\.", r"(^|\.)se_64\."),
    ),
    Relative("EG3D", "it draws a scene and not a picture", ("TriPlaneGenerator",)),
    Relative("SWAGAN", "it draws wavelets and not pixels", (), (r"(^|\.)iwt\.ll$",)),
    Relative("lucidrains' stylegan2-pytorch", "its blocks are of another make", (), (r"^G\.initial_block$",)),
    Relative(
        "MMGeneration's StyleGAN",
        "its layers are laid out in another way",
        (),
        (r"(^|\.)style_mapping\.\d", r"(^|\.)constant_input\."),
    ),
    Relative("the first StyleGAN", "its layers are of another make", (), (r"(^|\.)progression\.\d",)),
    Relative("StyleGAN-Human", "its pictures are not square", tells=_is_oblong),
)


def refuse_relative(tensors: Mapping[Any, Any], classes: Collection[str], path: Path) -> None:
    """Refuse a network that is known to be drawn in another way.

    Args:
        tensors: by name; what else a state dict holds is passed over.
        classes: of its modules, where they are known.
        path: the file, for messages.

    Raises:
        CheckpointError: it is one of :data:`RELATIVES`.
    """
    found = next((relative for relative in RELATIVES if _is(relative, tensors, classes)), None)
    if found is not None:
        raise CheckpointError(
            f"{path} is a network of {found.name}, which cannot be used: {found.why}. "
            "Expected a StyleGAN2 or StyleGAN3."
        )


def _is(relative: Relative, tensors: Mapping[Any, Any], classes: Collection[str]) -> bool:
    if not set(relative.classes).isdisjoint(classes) or (relative.tells is not None and relative.tells(tensors)):
        return True
    patterns = [re.compile(name) for name in relative.names]
    return bool(patterns) and all(any(pattern.search(str(name)) for name in tensors) for pattern in patterns)
