"""Converts StyleGAN3 generators from NVIDIA's pickles, after weights/reading has turned them into plain data.

The file contains the arguments with which the network was built. All tensors must have the names and shapes that follow
from these.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from relatent.core.errors import CheckpointError, UsageError
from stylegan.bounds import shown
from stylegan.formats.checkpoint import load_strictly, require_finite
from stylegan.networks.alias_free import AliasFreeLayer, AliasFreeSynthesis
from stylegan.networks.alias_free_plan import NONLINEARITY_RATE, TAPS_PER_RATE, AliasFreeConfig
from stylegan.networks.generator import Generator
from weights.reading.pickles import Persistent, flatten

# the arguments of the file's modules, and the corresponding fields of our configuration
SYNTHESIS_FIELDS = {
    "img_resolution": "resolution",
    **{
        name: name
        for name in (
            "w_dim", "img_channels", "channel_base", "channel_max", "num_layers", "num_critical", "first_cutoff",
            "first_stopband", "last_stopband_rel", "margin_size", "output_scale", "conv_kernel", "conv_clamp",
            "use_radial_filters",
        )
    },
}  # fmt: skip
MAPPING_FIELDS = {
    "z_dim": "z_dim",
    "c_dim": "c_dim",
    "w_dim": "w_dim",
    "num_layers": "mapping_layers",
    "lr_multiplier": "mapping_lr_multiplier",
}
NO_MATTER = {"num_fp16_res", "magnitude_ema_beta", "w_avg_beta", "num_ws"}  # used in training only, or redundant
FIXED = {"filter_size": TAPS_PER_RATE, "lrelu_upsampling": NONLINEARITY_RATE}
FILTER_TOLERANCE = 1e-4  # relative to the largest coefficient; published filters differ only by rounding
UNCHANGED = "Use a network made by an unchanged StyleGAN3."


def read_stylegan3(persistent: Persistent, path: Path) -> Generator:
    """A StyleGAN3 generator of configuration T, R or similar: float32, on the CPU, frozen.

    Args:
        persistent: the generator in the pickle.
        path: its file, for error messages and the network's name.

    Raises:
        CheckpointError: unknown arguments, or tensors that do not fit.
    """
    tensors = flatten(persistent, path)
    config = _config(persistent, path)
    with torch.device("meta"):  # shapes only, so that a hostile configuration allocates no memory
        generator = Generator(config, name=path.stem)
    synthesis = generator.synthesis
    assert isinstance(synthesis, AliasFreeSynthesis)
    filters = _filters(synthesis)
    table = {_their_name(ours, synthesis): ours for ours in generator.state_dict()}
    _require_names({*table, *filters}, set(tensors), path)
    _check_filters({name: tensors.pop(name) for name in filters}, filters, path)
    require_finite(tensors, path)
    # Copies, because tensors of a file may share memory with each other.
    plain = torch.contiguous_format
    copies = {table[name]: tensor.detach().clone(memory_format=plain) for name, tensor in tensors.items()}
    load_strictly(generator, copies, path)
    return generator.eval().requires_grad_(False)


def _config(persistent: Persistent, path: Path) -> AliasFreeConfig:
    synthesis = _built_with(persistent, "synthesis", path)
    mapping = _built_with(persistent, "mapping", path)
    fields: dict[str, Any] = {}
    for part, values, table in (("synthesis", synthesis, SYNTHESIS_FIELDS), ("mapping", mapping, MAPPING_FIELDS)):
        for name, value in values.items():
            if name in FIXED:
                _require_same(f"{part}.{name}", value, FIXED[name], path)
            elif name in table:
                field = table[name]
                _require_same(f"{part}.{name}", value, fields.setdefault(field, value), path)
            elif name not in NO_MATTER:
                raise CheckpointError(
                    f"{path} builds its {part} with {shown(name)}, which this version does not know. {UNCHANGED}"
                )
    try:
        return AliasFreeConfig(**fields)
    except UsageError as error:
        raise CheckpointError(f"{path} describes an impossible network: {error}") from error


def _built_with(persistent: Persistent, part: str, path: Path) -> dict[str, Any]:
    """The keyword arguments of ``part``, with NumPy scalars as Python numbers."""
    modules = persistent.state.get("_modules")
    module = modules.get(part) if isinstance(modules, dict) else None
    given = module.state.get("_init_kwargs") if isinstance(module, Persistent) else None
    if not isinstance(module, Persistent) or not isinstance(given, dict) or module.state.get("_init_args"):
        raise CheckpointError(
            f"{path} does not say how its {part} network was built; expected a StyleGAN3 generator's named arguments."
        )
    return {str(name): value.item() if isinstance(value, np.generic) else value for name, value in given.items()}


def _require_same(name: str, value: object, expected: object, path: Path) -> None:
    if type(value) is not type(expected) or value != expected:
        raise CheckpointError(f"{path} has {name} {shown(value)}; expected {shown(expected)}. It cannot be used.")


def _their_name(ours: str, synthesis: AliasFreeSynthesis) -> str:
    """The file's name for a tensor of ours; layers are named by index, size and channels of their output."""
    if match := re.match(r"synthesis\.layers\.(\d+)\.", ours):
        band = _layers(synthesis)[int(match[1])].plan.after
        return f"synthesis.L{match[1]}_{band.size}_{band.channels}.{ours[match.end() :]}"
    return ours.replace("mapping.layers.", "mapping.fc")


def _filters(synthesis: AliasFreeSynthesis) -> dict[str, Tensor]:
    """Our filters, which follow from the configuration, by the file's names."""
    return {
        _their_name(f"synthesis.layers.{index}.{kind}", synthesis): getattr(layer, kind)
        for index, layer in enumerate(_layers(synthesis))
        if not layer.plan.is_picture
        for kind in ("up_filter", "down_filter")
    }


def _layers(synthesis: AliasFreeSynthesis) -> list[AliasFreeLayer]:
    return [layer for layer in synthesis.layers if isinstance(layer, AliasFreeLayer)]


def _require_names(expected: set[str], found: set[str], path: Path) -> None:
    problems = [f"missing {name}" for name in sorted(expected - found)]
    problems += [f"left over {shown(name)}" for name in sorted(found - expected)]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointError(
            f"{path} is not a StyleGAN3 generator of a known layout: {'; '.join(problems[:3])}{more}. {UNCHANGED}"
        )


def _check_filters(found: dict[str, Tensor], expected: dict[str, Tensor], path: Path) -> None:
    for name, ours in expected.items():
        theirs = found[name].to(ours.dtype)
        if theirs.shape != ours.shape or not (theirs - ours).abs().max() <= FILTER_TOLERANCE * ours.abs().max():
            raise CheckpointError(f"{path} has a filter {name} that its configuration does not lead to. {UNCHANGED}")
