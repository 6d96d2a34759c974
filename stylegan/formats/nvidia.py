"""StyleGAN2 as NVIDIA's stylegan2-ada-pytorch lays it out: the object of a pickle, or its tensors alone.

Sizes come from the tensors' shapes, and what shapes do not tell from the layers' own attributes. Tensors alone do not
say whether activations were clamped: they are taken to be, at 256, as in all that was trained with the published code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from relatent.core.errors import CheckpointError
from stylegan.bounds import shown
from stylegan.formats.assembly import assemble, channel_rule, mapping_rate, take_filters
from stylegan.networks.generator import Generator
from weights.reading.pickles import Persistent, flatten

MAPPING_LR = 0.01  # where a file does not say
CLAMP = 256.0  # likewise
# what the layers' attributes must say where they say anything, and what it means if they do not
EXPECTED = {
    "architecture": ("skip", "its blocks are connected in another way than StyleGAN2's"),
    "activation": ("lrelu", "its activation is another than leaky ReLU"),
}
STATED = {"img_resolution": "resolution", **{name: name for name in ("z_dim", "c_dim", "w_dim", "img_channels")}}
LINEAR = frozenset(("affine", "embed"))  # layers without an activation


def read_stylegan2(network: Persistent, path: Path) -> Generator:
    """The StyleGAN2 generator in ``network``.

    Raises:
        CheckpointError: a network that is not supported, or whose parts contradict each other.
    """
    tensors = flatten(network, path)
    stated = _stated(network)
    modules = {"its settings": stated, **{name: module.state for name, module in _walk(network, "")}}
    _check_attributes(modules, path)
    _silence(tensors, {name for name, state in modules.items() if state.get("use_noise") is False})
    mapping = [state for name, state in modules.items() if re.fullmatch(r"mapping\.fc\d+", name)]
    sizes = {
        **_sizes(tensors, path),
        "conv_clamp": _shared("conv_clamp", modules.values(), stated.get("conv_clamp"), path),
        "mapping_lr_multiplier": _shared("bias_gain", mapping, stated.get("lr_multiplier", MAPPING_LR), path),
    }
    for theirs, ours in STATED.items():
        if theirs in stated and not (type(stated[theirs]) is int and stated[theirs] == sizes[ours]):
            raise CheckpointError(
                f"{path} says {theirs} {shown(stated[theirs])} where its tensors say {sizes[ours]}; "
                "that kind of network is not supported."
            )
    return _assembled(sizes, tensors, path)


def stylegan2_from_tensors(tensors: dict[str, Tensor], path: Path) -> Generator:
    """The StyleGAN2 generator of a state dict; raises as :func:`read_stylegan2` does.

    Args:
        tensors: by NVIDIA's names, without a prefix.
        path: the file they are from.
    """
    tensors = dict(tensors)
    layers = {found[1] for name in tensors if (found := re.fullmatch(r"(synthesis\.b\d+\.conv[01])\.weight", name))}
    if not any(f"{layer}.noise_strength" in tensors for layer in layers):  # built with use_noise=False
        _silence(tensors, layers)
    mapping = [tensor for name, tensor in tensors.items() if re.fullmatch(r"mapping\.fc\d+\.weight", name)]
    rate = mapping_rate(mapping)
    return _assembled({**_sizes(tensors, path), "conv_clamp": CLAMP, "mapping_lr_multiplier": rate}, tensors, path)


def class_names(network: Persistent) -> set[str]:
    """Of the network and every module inside."""
    return {network.class_name, *(module.class_name for _, module in _walk(network, ""))}


def _assembled(sizes: dict[str, Any], tensors: dict[str, Tensor], path: Path) -> Generator:
    take_filters(tensors, "resample_filter", 1.0, path)
    return assemble(sizes, tensors, _their_name, path)


def _silence(tensors: dict[str, Tensor], layers: Iterable[str]) -> None:
    """Give layers that were built without noise noise of strength 0, which draws the same."""
    for layer in layers:
        size = re.fullmatch(r"synthesis\.b([1-9]\d{0,3})\.conv[01]", layer)
        if size:
            tensors[f"{layer}.noise_strength"] = torch.zeros([])
            tensors.setdefault(f"{layer}.noise_const", torch.zeros(int(size[1]), int(size[1])))


def _walk(module: Persistent, prefix: str) -> Iterator[tuple[str, Persistent]]:
    """All submodules by their dotted names; ``flatten`` has checked that they are modules."""
    for name, inner in module.state["_modules"].items():
        if inner is not None:
            yield f"{prefix}{name}", inner
            yield from _walk(inner, f"{prefix}{name}.")


def _part(module: Any, name: str) -> dict[str, Any]:
    """An attribute of a module that is a dict; empty if there is none."""
    part = module.state.get(name) if isinstance(module, Persistent) else None
    return part if isinstance(part, dict) else {}


def _stated(network: Persistent) -> dict[str, Any]:
    """The arguments with which the network was built, in one dict."""
    stated = dict(_part(network, "_init_kwargs"))
    for group in ("mapping_kwargs", "synthesis_kwargs"):
        inner = stated.pop(group, None)
        stated.update(inner if isinstance(inner, dict) else {})
    return stated


def _check_attributes(modules: dict[str, dict[str, Any]], path: Path) -> None:
    for name, state in modules.items():
        for attribute, (expected, meaning) in EXPECTED.items():
            value = state.get(attribute, expected)
            if name.rpartition(".")[2] in LINEAR or (type(value) is type(expected) and value == expected):
                continue
            raise CheckpointError(
                f"{path} is not supported: {meaning} ({shown(name)} has {attribute} {shown(value)}, "
                f"expected {expected!r})."
            )


def _sizes(tensors: dict[str, Tensor], path: Path) -> dict[str, Any]:
    """The sizes that follow from the tensors' shapes."""
    widths = {}
    for name, tensor in tensors.items():
        match = re.fullmatch(r"synthesis\.b([1-9]\d{0,3})\.torgb\.weight", name)
        if match and tensor.ndim == 4:
            widths[int(match[1])] = tensor.shape[1]
    layers = [name for name in tensors if re.fullmatch(r"mapping\.fc\d+\.weight", name)]
    first, top = tensors.get("mapping.fc0.weight"), tensors.get(f"synthesis.b{max(widths, default=0)}.torgb.weight")
    if first is None or first.ndim != 2 or top is None:
        raise CheckpointError(
            f"{path} has no mapping.fc0 or no torgb layers; expected a StyleGAN2 or StyleGAN3 generator."
        )
    embed = tensors.get("mapping.embed.weight")
    c_dim, extra = (0, 0) if embed is None or embed.ndim != 2 else (embed.shape[1], embed.shape[0])
    return {
        "resolution": max(widths),
        "z_dim": first.shape[1] - extra,
        "w_dim": first.shape[0],
        "c_dim": c_dim,
        "mapping_layers": len(layers),
        "img_channels": top.shape[0],
        **channel_rule(widths, path),
    }


def _shared(attribute: str, states: Iterable[dict[str, Any]], default: Any, path: Path) -> Any:
    """The value of an attribute, which must be the same in all layers that have it."""
    values = [state[attribute] for state in states if attribute in state] or [default]
    if any(type(value) not in (int, float, type(None)) or value != values[0] for value in values):
        raise CheckpointError(
            f"{path} has layers with different values of {attribute}; that kind of network is not supported."
        )
    return values[0]


def _their_name(ours: str) -> str:
    return ours.replace("mapping.layers.", "mapping.fc").replace("synthesis.blocks.", "synthesis.b")
