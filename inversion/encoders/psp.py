"""Reads the checkpoints of pSp and e4e: an encoder, and the generator it was trained with.

A file holds ``state_dict`` with the names ``encoder.*`` and ``decoder.*``, the average w as ``latent_avg``, and the
options of the training as ``opts``. The tensors of both encoders have the same names and shapes; ``opts`` decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inversion.encoders.encoder import Encoder
from inversion.encoders.irse50 import STAGES
from inversion.encoders.style_blocks import RESOLUTION, SIDES, WIDTH, Encoder4Editing, GradualStyleEncoder
from relatent.core.errors import CheckpointError
from stylegan.bounds import shown
from stylegan.formats.checkpoint import load_strictly, require_finite
from weights.reading.pickles import open_torch

KINDS = {"GradualStyleEncoder": GradualStyleEncoder, "Encoder4Editing": Encoder4Editing}  # by their ``encoder_type``
MIN_WS, MAX_WS = 4, 18  # layers of generators of 8 and of 1024 px
OPTIONS = ("encoder_type", "start_from_latent_avg")
WRAPPER = "module."  # DataParallel's
RESTYLE_CHANNELS = 6  # the photo and the picture drawn so far

# Module names in the file to ours.
SINGLE = {
    "input_layer.0": "backbone.stem_conv",
    "input_layer.1": "backbone.stem_norm",
    "input_layer.2": "backbone.stem_prelu",
    "latlayer1": "to_middle",
    "latlayer2": "to_fine",
}
IN_BLOCK = {
    "res_layer.0": "norm_in",
    "res_layer.1": "conv_in",
    "res_layer.2": "prelu",
    "res_layer.3": "conv_out",
    "res_layer.4": "norm_out",
    "res_layer.5.fc1": "gate.squeeze",
    "res_layer.5.fc2": "gate.excite",
    "shortcut_layer.0": "widen.conv",
    "shortcut_layer.1": "widen.norm",
}


@dataclass(frozen=True, eq=False)
class PspCheckpoint:
    """The content of a file. Only types are checked, not names and shapes.

    Attributes:
        source: the file, for messages.
        state: tensors by their names in the file.
        latent_avg: the average w, in one of several shapes; None if the file has none.
        opts: options of the training; empty if the file has none.
    """

    source: Path
    state: dict[str, Tensor]
    latent_avg: Tensor | None
    opts: dict[str, Any]

    def below(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with ``prefix``, without it."""
        return {name.removeprefix(prefix): tensor for name, tensor in self.state.items() if name.startswith(prefix)}


def read_psp(path: Path) -> PspCheckpoint:
    """Read a checkpoint; nothing in it is executed.

    Raises:
        CheckpointError: damaged, or not a checkpoint of pSp or e4e.
    """
    content = open_torch(path)
    parts = content.value if isinstance(content.value, dict) else {}
    if not isinstance(parts.get("state_dict"), dict):
        return parse_psp(content.take_all(), path)
    taken = {name: content.take(parts[name]) for name in ("state_dict", "latent_avg") if name in parts}
    opts = parts.get("opts")
    if isinstance(opts, dict):  # of the rest of a training's options nothing is asked
        taken["opts"] = {name: content.take(opts[name]) for name in OPTIONS if name in opts}
    return parse_psp(taken, path)


def parse_psp(content: object, source: Path) -> PspCheckpoint:
    """Split the unpickled content of a file into its parts.

    Raises:
        CheckpointError: not a checkpoint of pSp or e4e.
    """
    parts = content if isinstance(content, dict) else {}
    state, average, opts = parts.get("state_dict"), parts.get("latent_avg"), parts.get("opts")
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise CheckpointError(
            f"{source} holds no state_dict; expected a checkpoint of pSp or e4e, with the weights of an encoder and a "
            "decoder in it. Use the file as its authors published it."
        )
    state = {name.removeprefix(WRAPPER): value for name, value in state.items()}
    tensors = state if average is None else {**state, "latent_avg": average}
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{source} holds {name!r:.100} as {type(value).__name__}; expected a tensor.")
    return PspCheckpoint(source, state, average, opts if isinstance(opts, dict) else {})


def encoder_from_psp(checkpoint: PspCheckpoint) -> Encoder:
    """The encoder, which reads the FFHQ crop at 256 px; float32, on the CPU, frozen, in evaluation mode.

    Weights in single precision are not copied.

    Raises:
        CheckpointError: the file holds none, one of another type, or an incomplete one.
    """
    source, tensors = checkpoint.source, checkpoint.below("encoder.")
    if not tensors:
        raise CheckpointError(f"{source} holds no encoder.* weights; expected pSp's or e4e's encoder.")
    _refuse_other_inputs(tensors, source)
    kind = _kind(checkpoint)
    num_ws = len({name.split(".")[1] for name in tensors if name.startswith("styles.")})
    if not MIN_WS <= num_ws <= MAX_WS:
        raise CheckpointError(
            f"{source} holds an encoder for {num_ws} layers; expected {MIN_WS} to {MAX_WS}, for generators of 8 to "
            "1024 px. Use the file as its authors published it."
        )
    with torch.device("meta"):  # shapes only; the file's tensors become the weights
        model = kind(num_ws)
    names = file_names(model.state_dict())
    _check_layout(tensors, names, model.state_dict(), source)
    model.float()  # PyTorch's default may be another dtype
    load_strictly(model, {ours: tensors[theirs] for theirs, ours in names.items()}, source)
    # After the shapes are checked: a hostile file may declare a huge tensor.
    require_finite({f"encoder.{name}": tensors[name] for name in names}, source)
    return Encoder(model, _offset(checkpoint, num_ws), resolution=RESOLUTION).eval().requires_grad_(False)


def file_names(ours: Iterable[str]) -> dict[str, str]:
    """Names in the file, without ``encoder.``, to ours, for each tensor of a :class:`GradualStyleEncoder`."""
    theirs = {ours: theirs for theirs, ours in SINGLE.items()}
    blocks = [(stage, block) for stage, (_, depth) in enumerate(STAGES) for block in range(depth)]
    for number, (stage, block) in enumerate(blocks):
        for inside, name in IN_BLOCK.items():
            theirs[f"backbone.stages.{stage}.{block}.{name}"] = f"body.{number}.{inside}"
    for layer in range(MAX_WS):
        theirs[f"heads.{layer}.linear"] = f"styles.{layer}.linear"
        for index in range(SIDES[-1].bit_length() - 1):  # in the file, an activation follows each convolution
            theirs[f"heads.{layer}.convs.{index}"] = f"styles.{layer}.convs.{2 * index}"
    split = {name: name.rpartition(".") for name in ours}
    return {f"{theirs[module]}.{part}": name for name, (module, _, part) in split.items()}


def _check_layout(tensors: dict[str, Tensor], names: dict[str, str], expected: dict[str, Tensor], source: Path) -> None:
    """Refuse missing and unexpected tensors and wrong shapes; the message uses the file's names."""
    problems = [f"missing encoder.{name}" for name in sorted(names.keys() - tensors.keys())]
    problems += [f"unexpected {shown('encoder.' + name)}" for name in sorted(tensors.keys() - names.keys())]
    problems += [
        f"encoder.{theirs} is {list(tensors[theirs].shape)} where {list(expected[ours].shape)} belongs"
        for theirs, ours in names.items()
        if theirs in tensors and tensors[theirs].shape != expected[ours].shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointError(
            f"{source} holds no complete encoder of pSp or e4e: {'; '.join(problems[:3])}{more}. "
            "Use the file as its authors published it."
        )


def _refuse_other_inputs(tensors: dict[str, Tensor], source: Path) -> None:
    """Refuse encoders whose input is not a photo with 3 channels, recognised by their first convolution."""
    first = tensors.get("input_layer.0.weight", tensors.get("conv1.weight"))
    channels = first.shape[1] if first is not None and first.ndim == 4 else 3
    if channels == RESTYLE_CHANNELS:
        raise CheckpointError(
            f"{source} is a ReStyle encoder, which reads a photo together with the picture drawn so far; expected an "
            "encoder of pSp or e4e, which reads the photo alone."
        )
    if channels != 3:
        raise CheckpointError(
            f"{source} holds an encoder of pictures with {channels} channels, sketches or label maps for example; "
            "expected one of photos, with 3."
        )


def _kind(checkpoint: PspCheckpoint) -> type[GradualStyleEncoder]:
    named = checkpoint.opts.get("encoder_type")
    if named is None:
        raise CheckpointError(
            f"{checkpoint.source} does not say in its opts which encoder_type it holds, and the weights of pSp's and "
            "e4e's have the same names. Use the file as its authors published it."
        )
    if not isinstance(named, str) or named not in KINDS:
        raise CheckpointError(
            f"{checkpoint.source} holds an encoder of the type {shown(named)}; expected {' (pSp) or '.join(KINDS)} "
            "(e4e). Use another checkpoint."
        )
    return KINDS[named]


def _offset(checkpoint: PspCheckpoint, num_ws: int) -> Tensor:
    """The offset of the codes, [num_ws, 512]: the average w if it was added in training, else zeros.

    Files of training in W (``learn_in_w``) and older files hold one average, which is used for all layers.
    """
    source, average = checkpoint.source, checkpoint.latent_avg
    # Training writes the average only if codes are relative to it, so without the option its presence decides.
    added = checkpoint.opts.get("start_from_latent_avg", average is not None)
    if not isinstance(added, bool):
        raise CheckpointError(f"{source} has start_from_latent_avg {shown(added)} in its opts; expected True or False.")
    if not added:
        return torch.zeros(num_ws, WIDTH, dtype=torch.float32)
    if average is None:
        raise CheckpointError(
            f"{source} holds no latent_avg, to which its opts say the codes must be added. "
            "Use the file as its authors published it."
        )
    if tuple(average.shape) not in {(WIDTH,), (1, WIDTH), (num_ws, WIDTH)} or not average.is_floating_point():
        raise CheckpointError(
            f"{source} holds latent_avg as {average.dtype} {list(average.shape)}; expected floats [{WIDTH}] or "
            f"[{num_ws}, {WIDTH}]. Use the file as its authors published it."
        )
    require_finite({"latent_avg": average}, source)
    return average.float().expand(num_ws, WIDTH).clone()
