"""Reads NVIDIA's pickles of stylegan2-ada-pytorch and stylegan3.

Such a file holds several networks ("G", "D", "G_ema"), each with its Python source, which is ignored. Sizes are
derived from the shapes of tensors, and other settings from the attributes of layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from relatent.core.errors import CheckpointError
from stylegan.bounds import MAX_SHOWN, shown
from stylegan.formats.assembly import assemble, channel_rule, take_filters
from stylegan.networks.generator import Generator
from weights.reading.pickles import Persistent, flatten, read_pickle

ENTRY = "G_ema"
MAPPING_LR = 0.01  # if the file does not contain it
# required values of layers' attributes, if present, and the error messages for other values
EXPECTED = {
    "architecture": ("skip", "its blocks are connected in another way than StyleGAN2's"),
    "activation": ("lrelu", "its activation is another than leaky ReLU"),
    "use_noise": (True, "it has layers without noise"),
}
STATED = {"img_resolution": "resolution", **{name: name for name in ("z_dim", "c_dim", "w_dim", "img_channels")}}
LINEAR = frozenset(("affine", "embed"))  # layers without an activation


def read_nvidia(path: Path, entry: str | None = None) -> Generator:
    """A generator from NVIDIA's pickle.

    Args:
        path: the file.
        entry: the network of the file; None for "G_ema".

    Raises:
        CheckpointError: not such a file, or a network that is not supported.
    """
    network = _network(read_pickle(path), entry, path)
    if "input" in _part(_part(network, "_modules").get("synthesis"), "_modules"):  # StyleGAN2 starts from a constant
        from stylegan.formats.stylegan3 import read_stylegan3

        return read_stylegan3(network, path)
    return read_stylegan2(network, path)


def read_stylegan2(network: Persistent, path: Path) -> Generator:
    """The StyleGAN2 generator in ``network``; raises as :func:`read_nvidia` does."""
    tensors = flatten(network, path)
    take_filters(tensors, "resample_filter", 1.0, path)
    stated = _stated(network)
    modules = {"its settings": stated, **{name: module.state for name, module in _walk(network, "")}}
    _check_attributes(modules, path)
    mapping = [state for name, state in modules.items() if re.fullmatch(r"mapping\.fc\d+", name)]
    sizes = {
        **_sizes(tensors, path),
        "conv_clamp": _shared("conv_clamp", modules.values(), stated.get("conv_clamp"), path),
        "mapping_lr_multiplier": _shared("bias_gain", mapping, stated.get("lr_multiplier", MAPPING_LR), path),
    }
    for theirs, ours in STATED.items():
        if theirs in stated and not (type(stated[theirs]) is int and stated[theirs] == sizes[ours]):
            raise CheckpointError(
                f"{path} says {theirs} {shown(stated[theirs])} where its tensors say {sizes[ours]}. "
                "Copy or download it again."
            )
    return assemble(sizes, tensors, _their_name, path)


def _network(data: Any, entry: str | None, path: Path) -> Persistent:
    """The network of ``entry``; a pickle may also hold a single network without a dict."""
    entries = data if isinstance(data, dict) else {ENTRY: data}
    networks = [name for name, value in entries.items() if isinstance(value, Persistent)]
    network = entries.get(entry or ENTRY)
    if not isinstance(network, Persistent):
        known = ", ".join(map(shown, networks[:MAX_SHOWN])) or "none"
        raise CheckpointError(f"{path} has no network {shown(entry or ENTRY)}; expected one of its entries: {known}.")
    if network.class_name != "Generator":
        raise CheckpointError(
            f"{path} has a {shown(network.class_name)} in its entry {shown(entry or ENTRY)}; expected a generator."
        )
    return network


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
