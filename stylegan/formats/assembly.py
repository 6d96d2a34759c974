"""Builds a generator from the tensors of a foreign StyleGAN2 file; shared by the importers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from relatent.core.errors import CheckpointError, UsageError
from stylegan.bounds import shown
from stylegan.formats.checkpoint import load_strictly, require_finite
from stylegan.networks.generator import Generator, GeneratorConfig
from stylegan.networks.ops import FILTER_TAPS

PUBLISHED_RATE = 0.01  # of a mapping network, in all published code
PLAIN_DEVIATION = 10.0  # of its weights, as far from 1 as from 100


def assemble(
    sizes: dict[str, Any], tensors: dict[str, Tensor], their_name: Callable[[str], str], path: Path
) -> Generator:
    """A generator with the weights of a foreign file: float32, on the CPU, frozen, named after the file.

    Args:
        sizes: fields of :class:`GeneratorConfig`.
        tensors: of the file, by its own names.
        their_name: maps our names to those of the file.
        path: the file.

    Raises:
        CheckpointError: invalid sizes, or missing, unexpected, misshapen or non-finite tensors.
    """
    try:
        config = GeneratorConfig(**sizes)
    except UsageError as error:
        raise CheckpointError(f"{path} is of a size that cannot be drawn: {error}") from error
    with torch.device("meta"):  # shapes only, so that wrong sizes allocate no memory
        generator = Generator(config, name=path.stem)
    table = {their_name(ours): ours for ours in generator.state_dict()}
    problems = [f"missing {name}" for name in sorted(table.keys() - tensors.keys())]
    problems += [f"left over {shown(name)}" for name in sorted(tensors.keys() - table.keys())]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointError(
            f"{path} is not a StyleGAN2 generator of a known layout: {'; '.join(problems[:3])}{more}. "
            "Expected the layout of its official release, unchanged."
        )
    renamed = {ours: tensors[theirs].detach().float().contiguous() for theirs, ours in table.items()}
    require_finite(renamed, path)
    load_strictly(generator, renamed, path)
    return generator.eval().requires_grad_(False)


def channel_rule(widths: dict[int, int], path: Path) -> dict[str, int]:
    """The ``channel_base`` and ``channel_max`` that give these channels at these resolutions.

    Raises:
        CheckpointError: there are none.
    """
    base = max((width * size for size, width in widths.items()), default=0)
    most = max(widths.values(), default=0)
    if any(min(base // size, most) != width for size, width in widths.items()):
        shown_widths = ", ".join(f"{width} at {size} px" for size, width in sorted(widths.items()))
        raise CheckpointError(
            f"{path} has channels that follow no rule known here: {shown_widths:.300}. "
            "Expected BASE / resolution, at most MAX, as in the official releases."
        )
    return {"channel_base": base, "channel_max": most}


def mapping_rate(weights: Iterable[Tensor]) -> float:
    """The learning rate multiplier that a mapping network was made with, where its file does not say.

    Weights start with a deviation of one over it (Karras et al. 2018, sec. 4.1), so 0.01 makes them about a hundred,
    and 1, as ``lr_mlp=1`` and the like do, about one. Training moves them by far less than that.

    Args:
        weights: of its layers.
    """
    squares = [tensor.float().square().mean() for tensor in weights if tensor.numel()]
    deviation = float(torch.stack(squares).mean().sqrt()) if squares else 0.0
    return 1.0 if deviation < PLAIN_DEVIATION else PUBLISHED_RATE


def take_filters(tensors: dict[str, Tensor], suffix: str, gain: float, path: Path) -> None:
    """Remove the low-pass filters from ``tensors``, whose names end in ``suffix``, because ours is built in.

    Raises:
        CheckpointError: a filter is not the separable [1, 3, 3, 1], summing to ``gain``.
    """
    line = torch.tensor(FILTER_TAPS)
    expected = torch.outer(line, line) * (gain / line.sum() ** 2)
    for name in [name for name in tensors if name.endswith(suffix)]:
        kernel = tensors.pop(name).float()
        if kernel.shape != expected.shape or not torch.allclose(kernel, expected, atol=1e-4):
            raise CheckpointError(
                f"{path} resamples with another filter than [1, 3, 3, 1] ({shown(name)}); "
                "that kind of network is not supported."
            )
