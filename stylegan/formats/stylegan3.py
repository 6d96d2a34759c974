"""StyleGAN3's published networks, once they are plain data, as our own generator.

A pickle says how its network was built and what it weighs; every weight must be where that says, in that size. Tensors
alone say it by their names and shapes, and where these do not, the published defaults are tried; the filters among the
tensors follow from all of it, so that a wrong guess shows.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from relatent.core.errors import CheckpointError, UsageError
from stylegan.bounds import shown
from stylegan.formats.assembly import mapping_rate
from stylegan.formats.checkpoint import load_strictly, require_finite
from stylegan.networks.alias_free import AliasFreeLayer, AliasFreeSynthesis
from stylegan.networks.alias_free_plan import NONLINEARITY_RATE, TAPS_PER_RATE, AliasFreeConfig, plan_bands
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
# of training, or told by the layers; the last two are of stylegan3-fun
NO_MATTER = {"num_fp16_res", "magnitude_ema_beta", "w_avg_beta", "num_ws", "freeze_layers", "freeze_embed"}
FIXED = {"filter_size": TAPS_PER_RATE, "lrelu_upsampling": NONLINEARITY_RATE}
FILTER_TOLERANCE = 1e-3  # of the largest coefficient; a network stored in half precision rounds them by half of that
LAYER_NAME = "synthesis.L{}_{}_{}.weight"
LAYER = re.compile(r"synthesis\.L(\d{1,2})_(\d{1,5})_(\d{1,5})\.weight")
TRANSFORM = "synthesis.input.transform"  # of the user's; some leave it out
UNCHANGED = "Use a network made by an unchanged StyleGAN3."


def read_stylegan3(persistent: Persistent, path: Path) -> Generator:
    """A StyleGAN3 generator of configuration T, R or similar: float32, on the CPU, frozen.

    Args:
        persistent: the generator in the pickle.
        path: its file, for error messages and the network's name.

    Raises:
        CheckpointError: unknown arguments, or tensors that do not fit.
    """
    return _assembled(_config(persistent, path), flatten(persistent, path), path)


def stylegan3_from_tensors(tensors: dict[str, Tensor], path: Path) -> Generator:
    """A StyleGAN3 generator of a state dict; raises as :func:`read_stylegan3` does.

    Args:
        tensors: by NVIDIA's names, without a prefix.
        path: the file they are from.
    """
    config = _config_of(tensors, path)
    if TRANSFORM not in tensors:
        tensors = {**tensors, TRANSFORM: torch.eye(3)}
    return _assembled(config, tensors, path)


def _assembled(config: AliasFreeConfig, tensors: dict[str, Tensor], path: Path) -> Generator:
    with torch.device("meta"):  # shapes only, so that a hostile configuration allocates no memory
        generator = Generator(config, name=path.stem)
    synthesis = generator.synthesis
    assert isinstance(synthesis, AliasFreeSynthesis)
    filters = _filters(synthesis)
    table = {_their_name(ours, synthesis): ours for ours in generator.state_dict()}
    _require_names({*table, *filters}, set(tensors), path)
    _check_filters(tensors, filters, path)
    weights = {name: tensor for name, tensor in tensors.items() if name not in filters}
    require_finite(weights, path)
    # Copies, because tensors of a file may share memory with each other.
    plain = torch.contiguous_format
    copies = {table[name]: tensor.detach().clone(memory_format=plain) for name, tensor in weights.items()}
    load_strictly(generator, copies, path)
    return generator.eval().requires_grad_(False)


def _config_of(tensors: dict[str, Tensor], path: Path) -> AliasFreeConfig:
    """What a state dict's names and shapes tell of how its network was built."""
    found = sorted((int(match[1]), int(match[2]), int(match[3])) for match in map(LAYER.fullmatch, tensors) if match)
    first = tensors.get("mapping.fc0.weight")
    if (
        [index for index, _, _ in found] != list(range(len(found)))
        or len(found) < 3
        or first is None
        or first.ndim != 2
    ):
        raise CheckpointError(
            f"{path} has no mapping.fc0 or lacks layers; expected the tensors of a StyleGAN3 generator."
        )
    _, sizes, channels = zip(*found, strict=True)
    embed = tensors.get("mapping.embed.weight")
    c_dim, extra = (0, 0) if embed is None or embed.ndim != 2 else (embed.shape[1], embed.shape[0])
    fully = [tensor for name, tensor in tensors.items() if re.fullmatch(r"mapping\.fc\d+\.weight", name)]
    known: dict[str, Any] = {
        "resolution": sizes[-1],
        "z_dim": first.shape[1] - extra,
        "w_dim": first.shape[0],
        "c_dim": c_dim,
        "mapping_layers": len(fully),
        "mapping_lr_multiplier": mapping_rate(fully),
        "img_channels": channels[-1],
        "channel_max": max(channels[:-1]),
        "num_layers": len(found) - 1,
        "conv_kernel": tensors[LAYER_NAME.format(*found[0])].shape[-1],
        "use_radial_filters": any(name.endswith("down_filter") and value.ndim == 2 for name, value in tensors.items()),
    }
    most = known["num_layers"] - 1
    published = min(AliasFreeConfig.num_critical, most)
    try:
        guesses = [
            AliasFreeConfig(
                **known, num_critical=count, channel_base=_channel_base(known | {"num_critical": count}, channels)
            )
            for count in dict.fromkeys((published, *range(1, most + 1)))
        ]
    except UsageError as error:
        raise CheckpointError(f"{path} describes an impossible network: {error}") from error
    return next((config for config in guesses if _fits(config, sizes, tensors)), guesses[0])


def _fits(config: AliasFreeConfig, sizes: tuple[int, ...], tensors: dict[str, Tensor]) -> bool:
    """Whether the filters among the tensors are those of a network built like this."""
    if sizes != tuple(band.size for band in plan_bands(config)):
        return False
    with torch.device("meta"):
        synthesis = AliasFreeSynthesis(config)
    return all(name in tensors and _is_filter(tensors[name], ours) for name, ours in _filters(synthesis).items())


def _channel_base(known: dict[str, Any], channels: tuple[int, ...]) -> int:
    """A ``channel_base`` that leads to these channels; whatever lies in the same range draws the same."""
    bands = plan_bands(AliasFreeConfig(**known))
    counts = [(count, band.cutoff) for count, band in zip(channels[:-1], bands, strict=False)]
    low = max(math.ceil(2 * cutoff * (count - 0.5)) for count, cutoff in counts)
    high = min((2 * cutoff * (count + 0.5) for count, cutoff in counts if count < max(channels[:-1])), default=low)
    power = 2 ** math.ceil(math.log2(low))
    return power if power <= high or high <= low else low


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
        if not _is_filter(found[name], ours):
            raise CheckpointError(f"{path} has a filter {name} that its configuration does not lead to. {UNCHANGED}")


def _is_filter(theirs: Tensor, ours: Tensor) -> bool:
    if theirs.shape != ours.shape:
        return False
    return bool((theirs.to(ours.dtype) - ours).abs().max() <= FILTER_TOLERANCE * ours.abs().max())
