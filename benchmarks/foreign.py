"""Our generators in other people's files: the layouts of published networks, written from nothing."""

from __future__ import annotations

import contextlib
import math
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stylegan.formats.stylegan3 import MAPPING_FIELDS, SYNTHESIS_FIELDS
from stylegan.networks.alias_free import AliasFreeSynthesis
from stylegan.networks.alias_free_plan import AliasFreeConfig, plan_bands
from stylegan.networks.generator import Generator
from weights.reading.pickles import Persistent

TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0])
FILTER = torch.outer(TAPS, TAPS) / 64


class Persisted:
    """A module as `torch_utils.persistence` pickles it."""

    def __init__(self, class_name: str, **attributes: Any) -> None:
        self.class_name = class_name
        self.state = {
            "_init_args": (),
            "_init_kwargs": {},
            "_parameters": OrderedDict(),
            "_buffers": OrderedDict(),
            "_modules": OrderedDict(),
            "_non_persistent_buffers_set": set(),
            "_forward_hooks": OrderedDict(),
            "training": False,
            **attributes,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        source = "raise SystemExit('the source in a pickle was run')"
        meta = {"type": "class", "version": 6, "module_src": source, "class_name": self.class_name, "state": self.state}
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,)

    def __getitem__(self, name: str) -> Persisted:
        """The module inside with this dotted name."""
        first, _, rest = name.partition(".")
        inner = self.state["_modules"][first]
        return inner[rest] if rest else inner

    def put(self, name: str, tensor: Tensor) -> None:
        """Add a tensor by its dotted name, and the modules on the way to it."""
        first, _, rest = name.partition(".")
        if rest:
            modules = self.state["_modules"]
            modules.setdefault(first, Persisted(CLASSES.get(first.rstrip("0123456789"), "Layer"))).put(rest, tensor)
        elif first in ("noise_const", "w_avg", "resample_filter"):
            self.state["_buffers"][first] = tensor
        else:
            self.state["_parameters"][first] = nn.Parameter(tensor, requires_grad=False)


CLASSES = {
    "synthesis": "SynthesisNetwork",
    "mapping": "MappingNetwork",
    "b": "SynthesisBlock",
    "conv": "SynthesisLayer",
    "torgb": "ToRGBLayer",
    "fc": "FullyConnectedLayer",
    "affine": "FullyConnectedLayer",
    "embed": "FullyConnectedLayer",
}


def nvidia_network(generator: Generator) -> Persisted:
    """`generator` as stylegan2-ada-pytorch holds it."""
    config = generator.config
    network = Persisted("Generator")
    network.state["_init_kwargs"] = {
        "z_dim": config.z_dim,
        "c_dim": config.c_dim,
        "w_dim": config.w_dim,
        "img_resolution": config.resolution,
        "img_channels": config.img_channels,
        "mapping_kwargs": {"num_layers": config.mapping_layers},
        "synthesis_kwargs": {"channel_base": config.channel_base, "channel_max": config.channel_max},
    }
    for name, tensor in generator.state_dict().items():
        network.put(name.replace("mapping.layers.", "mapping.fc").replace("synthesis.blocks.", "synthesis.b"), tensor)
    for layer in (inner for name, inner in network["mapping"].state["_modules"].items() if name.startswith("fc")):
        layer.state.update(activation="lrelu", bias_gain=config.mapping_lr_multiplier)
    for block in network["synthesis"].state["_modules"].values():
        block.state["architecture"] = "skip"
        block.put("resample_filter", FILTER)
        for name, layer in block.state["_modules"].items():
            layer.state["conv_clamp"] = config.conv_clamp
            layer["affine"].state.update(activation="linear", bias_gain=1)
            if name != "torgb":
                layer.state.update(activation="lrelu", use_noise=True)
                layer.put("resample_filter", FILTER)
    return network


@contextlib.contextmanager
def nvidia_modules() -> Iterator[type[dict[str, Any]]]:
    """The modules whose names such a pickle mentions, for as long as it takes to write one."""
    persistence, util = types.ModuleType("torch_utils.persistence"), types.ModuleType("dnnlib.util")

    def _reconstruct_persistent_obj(meta: object) -> None:  # noqa: ARG001 - only its name is written
        raise AssertionError("a pickle was loaded by pickle")

    class EasyDict(dict[str, Any]):
        pass

    for module, value in ((persistence, _reconstruct_persistent_obj), (util, EasyDict)):
        value.__module__, value.__qualname__ = module.__name__, value.__name__
        setattr(module, value.__name__, value)
    packages = {name: types.ModuleType(name) for name in ("torch_utils", "dnnlib")}
    added = {**packages, persistence.__name__: persistence, util.__name__: util}
    before = {name: sys.modules.get(name) for name in added}
    sys.modules.update(added)
    try:
        yield util.EasyDict
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module


def write_nvidia(path: Path, protocol: int = 4, **entries: Any) -> Path:
    """A pickle with these networks and what else a training snapshot holds."""
    with nvidia_modules() as easy_dict:
        snapshot = {"training_set_kwargs": easy_dict(path="faces.zip", resolution=8), "augment_pipe": None, **entries}
        path.write_bytes(pickle.dumps(snapshot, protocol=protocol))
    return path


def rosinality_tensors(generator: Generator) -> dict[str, Tensor]:
    """`generator` as rosinality's stylegan2-pytorch holds it, by its names; without the average w."""
    mapping, blocks = generator.mapping, generator.synthesis.blocks
    theirs = {}
    for index, layer in enumerate(mapping.layers, start=1):
        theirs[f"style.{index}.weight"], theirs[f"style.{index}.bias"] = layer.weight, layer.bias
    theirs["input.input"] = blocks["4"].const[None]
    count = 0
    for size, block in blocks.items():
        level = int(math.log2(int(size))) - 3
        for layer in block.layers:
            name = f"convs.{count - 1}" if count else "conv1"
            theirs.update(_convolution(name, layer))
            theirs[f"{name}.noise.weight"] = layer.noise_strength.reshape(1)
            theirs[f"{name}.activate.bias"] = layer.bias
            theirs[f"noises.noise_{count}"] = layer.noise_const[None, None]
            if layer.up:
                theirs[f"{name}.conv.blur.kernel"] = FILTER * 4
            count += 1
        name = "to_rgb1" if level < 0 else f"to_rgbs.{level}"
        theirs.update(_convolution(name, block.torgb))
        theirs[f"{name}.bias"] = block.torgb.bias.reshape(1, -1, 1, 1)
        if level >= 0:
            theirs[f"{name}.upsample.kernel"] = FILTER * 4
    return {name: tensor.detach().clone() for name, tensor in theirs.items()}


def _convolution(name: str, layer: Any) -> dict[str, Tensor]:
    return {
        f"{name}.conv.weight": layer.weight[None],
        f"{name}.conv.modulation.weight": layer.affine.weight,
        f"{name}.conv.modulation.bias": layer.affine.bias,
    }


def stylegan3_network(generator: Generator) -> Persistent:
    """`generator`, of StyleGAN3's kind, as reading its pickle would give it."""
    config, synthesis, mapping = generator.config, generator.synthesis, generator.mapping
    assert isinstance(config, AliasFreeConfig)
    assert isinstance(synthesis, AliasFreeSynthesis)
    layers = {"input": _own(synthesis.input, "weight", "freqs", "phases", "transform")}
    for index, (layer, band) in enumerate(zip(synthesis.layers, plan_bands(config), strict=True)):
        module = _own(layer, "weight", "bias", "magnitude_ema")
        module.state["_buffers"] = {name: getattr(layer, name, None) for name in ("up_filter", "down_filter")}
        layers[f"L{index}_{band.size}_{band.channels}"] = module
    stated = {theirs: getattr(config, ours) for theirs, ours in SYNTHESIS_FIELDS.items()}
    fully = {f"fc{index}": _linear(layer) for index, layer in enumerate(mapping.layers)}
    fully |= {} if mapping.embed is None else {"embed": _linear(mapping.embed)}
    built = {theirs: getattr(config, ours) for theirs, ours in MAPPING_FIELDS.items()}
    parts = {
        "synthesis": part("SynthesisNetwork", {}, layers, **stated, num_fp16_res=4, magnitude_ema_beta=0.99),
        "mapping": part("MappingNetwork", {"w_avg": mapping.w_avg}, fully, **built, num_ws=generator.num_ws),
    }
    return part("Generator", {}, parts)


def part(class_name: str, tensors: dict[str, Any], modules: dict[str, Any], **built_with: Any) -> Persistent:
    """A module as NVIDIA's pickles hold it."""
    state = {"_init_args": (), "_init_kwargs": built_with, "_parameters": tensors, "_buffers": {}, "_modules": modules}
    return Persistent(class_name, state)


def as_written(read: Persistent) -> Persisted:
    """What is pickled to give, when read, ``read``."""
    state = dict(read.state)
    state["_parameters"] = {name: tensor.detach().clone() for name, tensor in state["_parameters"].items()}
    state["_buffers"] = {
        name: None if tensor is None else tensor.detach().clone() for name, tensor in state["_buffers"].items()
    }
    state["_modules"] = {name: as_written(module) for name, module in state["_modules"].items()}
    return Persisted(read.class_name, **state)


def _own(module: Any, *names: str) -> Persistent:
    tensors = {name: getattr(module, name) for name in names}
    return part(type(module).__name__, tensors, {"affine": _linear(module.affine)})


def _linear(layer: Any) -> Persistent:
    return part("FullyConnectedLayer", {"weight": layer.weight, "bias": layer.bias}, {})
