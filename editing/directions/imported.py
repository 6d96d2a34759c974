"""Imports published directions.

A published vector names neither its network nor the unit of its strength. The user names the network, which is
recorded as unverified. The unit stays that of the file.

    InterFaceGAN   .npy, [1, w_dim], unit norm; StyleFeatureEditor: [1, L * w_dim]
    e4e, pSp       .pt, [1, w_dim] or [L, w_dim]
    GANSpace       .npz (lat_comp, lat_stdev or act_comp, act_stdev) or .pt (comp, std): one of many components
    SeFa           .pt of rosinality's closed_form_factorization (eigvec): one of many columns
    StyleSpace,    text or .json: style channels as LAYER_CHANNEL, with the papers' numbers of layers,
    StyleCLIP      and the change in standard deviations
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from editing.directions.direction import Direction, Fact
from inversion.foreign_latents import KEYS, read_latents
from relatent.core.errors import CheckpointError, RelatentError, UsageError
from stylegan import Generator, network_id
from weights.reading.arrays import npz_names, read_npy, read_npz

COMPONENTS = (("lat_comp", "lat_stdev"), ("act_comp", "act_stdev"), ("comp", "std"))
PUBLISHED = "as published: strength 1 adds the file's own vector once"
DEVIATION = "one standard deviation along the component, as its file has it"
CHANNEL = re.compile(r"(\d{1,4})[_,\s]+(\d{1,5})(?:[:=,\s]+([-+.\deE]+))?")
LATENT = (
    "its length and its nearness to the average say that it is a face's latent, not a direction: editing edit takes it "
    "as a face"
)
HOW_TO_EDIT = "edit with python -m editing edit {} --network NETWORK --set NAME=STRENGTH"
MAX_LIST = 2**20  # bytes of a channel list


def import_direction(
    path: str | Path,
    network: Generator,  # the network that the direction was made for
    *,
    name: str | None = None,  # of the direction; None for the file's name
    component: int | None = None,  # number from 0, required for files with many components
    layers: tuple[int, ...] | None = None,  # the layers to change; None for all
) -> Direction:
    """Import a published direction.

    Raises:
        CheckpointError: the file is missing or damaged, or contains objects other than data.
        UsageError: the network has another size, or there is no such component.
    """
    path = Path(path)
    name = name or re.sub(r"\W+", "_", path.stem).lower()
    kind = path.suffix.lower()
    if kind == ".safetensors":
        direction = Direction.load(path).replace(name=name)
        direction.check_network(network)
        return direction
    facts: dict[str, Fact] = {
        "file": path.name,
        "warning": f"the file names no network; it was taken for {network_id(network)} as asked",
    }
    if kind in (".txt", ".csv", ".json"):
        return _from_channels(path, network, name, facts)
    try:
        vector, source, unit = _vector(path, kind, component)
        fitted = fit(vector, network, path)
    except RelatentError:
        _refuse_latents(path, network)  # a better answer, if it is what came
        raise
    facts["norm"] = float(fitted.norm())
    if resembles_latent(fitted, network):
        facts["warning"] = f"{LATENT}; {facts['warning']}"
    return Direction(
        vector=fitted,
        name=name,
        network=network_id(network),
        layers=layers,
        space="w" if fitted.ndim == 1 and layers is None else "w+",
        source=f"imported: {source}",
        unit=unit,
        facts=facts,
    )


def resembles_latent(vector: Tensor, network: Generator) -> bool:
    """Whether a vector [w_dim] or [L, w_dim] is a face rather than a way from one to another.

    It lies where latents lie: as long as they are, and nearer to their average than to 0. A direction is a difference
    of latents, in which the average has gone.
    """
    average, rows = network.w_avg.detach().float().cpu(), vector.reshape(-1, network.w_dim)
    norm, away = (float(x.square().sum(dim=1).mean().sqrt()) for x in (rows, rows - average))
    usual = math.hypot(float(average.norm()), network.w_std())
    return away < norm and usual / 2 <= norm <= usual * 3


def _refuse_latents(path: Path, network: Generator) -> None:
    try:
        found = read_latents(path, network)
    except RelatentError:
        return
    several_in_w = len(found.ws) > 1 and bool((found.ws == found.ws[:, :1]).all())  # or any list of vectors
    if not several_in_w and all(resembles_latent(ws, network) for ws in found.ws):
        raise UsageError(
            f"{path} holds {'a face' if len(found.ws) == 1 else f'{len(found.ws)} faces'}, not a direction: "
            f"{HOW_TO_EDIT.format(path)}"
        )


def fit(vector: Tensor, network: Generator, path: Path) -> Tensor:
    """A published vector as [w_dim] or [L, w_dim] of ``network``.

    Raises:
        UsageError: the network has another size.
    """
    count, width = network.num_ws, network.w_dim
    shape = [side for side in vector.shape if side != 1] or [1]
    if shape == [width]:
        return vector.reshape(width)
    if shape in ([count, width], [count * width]):
        return vector.reshape(count, width)
    raise UsageError(
        f"{path} holds {list(vector.shape)}; {network.name or 'this network'} has latents of {count} layers x {width}, "
        f"so expected [{width}], [{count}, {width}] or [{count * width}]. A direction works in its own network alone: "
        "learn it for this one with: python -m editing directions learn"
    )


def _vector(path: Path, kind: str, component: int | None) -> tuple[Tensor, str, str]:
    """The vector of a file, its source in words, and the unit of strength."""
    if kind == ".npy":
        return torch.from_numpy(read_npy(path)), f"{path.name}, a plain vector", PUBLISHED
    if kind == ".npz":
        known = [name for pair in COMPONENTS for name in pair]
        if set(known).isdisjoint(npz_names(path)):
            raise _unknown(npz_names(path), path)
        arrays = read_npz(path, known)
        return _component({key: torch.from_numpy(array) for key, array in arrays.items()}, path, component)
    if kind in (".pt", ".pth"):
        from weights.reading.pickles import read_torch

        value = read_torch(path)
        if isinstance(value, Mapping):
            return _component(value, path, component)
        return _floats(value, path), f"{path.name}, a plain vector", PUBLISHED
    raise UsageError(
        f"{path} is no kind of direction that is known; expected .npy, .npz, .pt, .safetensors, "
        "or a list of style channels in .txt, .csv or .json."
    )


def _component(values: Mapping[Any, Any], path: Path, component: int | None) -> tuple[Tensor, str, str]:
    """One component of a GANSpace or SeFa file: vector, source and unit."""
    pair = next((pair for pair in COMPONENTS if pair[0] in values and pair[1] in values), None)
    if pair is not None:
        axes, lengths = _floats(values[pair[0]], path), _floats(values[pair[1]], path).flatten()
        axes = axes.reshape(len(axes), -1) if axes.ndim > 1 else axes[None]
        if len(lengths) != len(axes):
            raise CheckpointError(f"{path} has {len(axes)} components and {len(lengths)} deviations. Copy it again.")
        index = _checked(component, len(axes), path)
        return axes[index] * lengths[index], f"{path.name}, GANSpace component {index}", DEVIATION
    if "eigvec" in values:
        columns = _floats(values["eigvec"], path)
        if columns.ndim != 2:
            raise CheckpointError(f"{path} has an eigvec of shape {list(columns.shape)}; expected [w_dim, n].")
        index = _checked(component, columns.shape[1], path)
        return columns[:, index], f"{path.name}, SeFa component {index}", PUBLISHED
    nested = [key for value in values.values() if isinstance(value, Mapping) for key in value]
    raise _unknown([*values, *nested], path)


def _unknown(names: Iterable[Any], path: Path) -> CheckpointError:
    """The error of a file with other entries than a direction's."""
    found = sorted(set(map(str, names)))
    latents = not set(KEYS).isdisjoint(found)
    return CheckpointError(
        f"{path} holds {', '.join(found)[:120] or 'nothing'}; expected comp and std (GANSpace) or eigvec (SeFa)."
        f"{f' By these names it holds faces: {HOW_TO_EDIT.format(path)}' if latents else ''}"
    )


def _checked(component: int | None, count: int, path: Path) -> int:
    if component is None or not 0 <= component < count:
        came = "none was chosen" if component is None else f"{component} was chosen"
        raise UsageError(f"{path} holds {count} components, and {came}; expected --component 0 to {count - 1}.")
    return component


def _floats(value: object, path: Path) -> Tensor:
    tensor = value
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        tensor = torch.from_numpy(value.astype(np.float32))
    if not isinstance(tensor, Tensor) or not tensor.numel() or tensor.is_complex():
        raise CheckpointError(f"{path} holds a {type(value).__name__} where numbers belong; expected a vector.")
    return tensor.detach().to(torch.float32)


def _from_channels(path: Path, network: Generator, name: str, facts: dict[str, Fact]) -> Direction:
    from editing.directions.stylespace import StyleSpace

    changes = read_channels(path)
    space = StyleSpace(network)
    deviations = {
        (layer, number): float(deviation)
        for layer, row in enumerate(space.deviations)
        for number, deviation in enumerate(row.tolist())
    }
    scaled = {channel: change * deviations.get(channel, 1.0) for channel, change in changes.items()}
    unit = "the changes its list gives, in standard deviations of each style channel"
    return space.direction(scaled, name, source=f"imported: {path.name}, style channels", unit=unit, facts=facts)


def read_channels(path: Path) -> dict[tuple[int, int], float]:
    """Read a list of style channels: changes by (style layer, channel).

    Text has one channel per line: ``9_41``, ``9_41 -2.5`` or ``9,41,-2.5``. Comments start with #, and a missing change
    is 1. JSON is an object such as {"9_41": -2.5} or a list such as [[9, 41, -2.5]].

    Raises:
        CheckpointError: missing, or not such a list.
    """
    try:
        if path.stat().st_size > MAX_LIST:
            raise CheckpointError(f"{path} is larger than any list of channels; expected at most {MAX_LIST} bytes.")
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read as a list of style channels ({error!s:.120}).") from error
    lines = _json_lines(text, path) if path.suffix.lower() == ".json" else text.splitlines()
    changes = {}
    for line in lines:
        entry = line.partition("#")[0].strip()
        match = CHANNEL.fullmatch(entry)
        if entry and not match:
            raise CheckpointError(
                f"{path} has the line {entry[:60]!r}; expected LAYER_CHANNEL CHANGE, for example 9_41 -2.5."
            )
        if match:
            changes[int(match[1]), int(match[2])] = _change(match[3], path)
    if not changes:
        raise CheckpointError(f"{path} names no style channel; expected lines such as 9_41 -2.5.")
    return changes


def _json_lines(text: str, path: Path) -> list[str]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON ({error!s:.120}).") from error
    if isinstance(value, dict):
        return [f"{key} {change}" for key, change in value.items()]
    if isinstance(value, list):
        return [" ".join(map(str, entry)) if isinstance(entry, list) else str(entry) for entry in value]
    raise CheckpointError(
        f'{path} holds a {type(value).__name__}; expected an object such as {{"9_41": -2.5}} or a list.'
    )


def _change(text: str | None, path: Path) -> float:
    try:
        value = 1.0 if text is None else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise CheckpointError(f"{path} has the change {text!r}; expected a number.")
    return value
