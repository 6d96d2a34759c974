"""Reads and writes training states of all kinds: safetensors files with groups of tensors and text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from relatent.core.errors import CheckpointError, UsageError
from stylegan.bounds import require_number, require_whole
from stylegan.formats.checkpoint import read_safetensors, write_safetensors

Groups = dict[str, dict[str, Tensor]]


def write_groups(path: Path, format: str, groups: Groups, metadata: dict[str, str]) -> None:
    """Write groups of named tensors; the name of a group contains no dot.

    Raises:
        OutputError: the file cannot be written.
    """
    tensors = {f"{group}.{name}": tensor for group, named in groups.items() for name, tensor in named.items()}
    write_safetensors(path, tensors, {"format": format, **metadata})


def read_groups(path: Path, format: str, names: Iterable[str], what: str) -> tuple[Groups, dict[str, str]]:
    """Read what :func:`write_groups` wrote: the groups of ``names``, which may be empty, and the text.

    Args:
        path: the file.
        format: expected in its header.
        names: of the possible groups.
        what: the kind of training in words, for messages.

    Raises:
        CheckpointError: damaged, or of another format.
    """
    tensors, metadata = read_safetensors(path)
    if metadata.get("format") != format:
        raise CheckpointError(f"{path} is not the state of {what}; expected a file that such a training wrote.")
    groups: Groups = {name: {} for name in names}
    for name, tensor in tensors.items():
        group, _, rest = name.partition(".")
        if group not in groups:
            raise CheckpointError(f"{path} holds an unexpected tensor {name!r}; it is not the state of {what}.")
        groups[group][rest] = tensor
    return groups, metadata


def read_progress(metadata: dict[str, str], path: Path) -> tuple[int, float]:
    """The number of steps and the seconds of training so far.

    Raises:
        CheckpointError: missing or invalid values.
    """
    try:
        step, seconds = int(metadata["step"]), float(metadata["seconds"])
        require_whole("step", step, 0, 2**53)
        require_number("seconds", seconds, 0, 1e12)
    except (KeyError, ValueError, UsageError) as error:
        raise CheckpointError(f"{path} does not say how far its training is: {error!s:.300}") from error
    return step, seconds


def moments_of(network: nn.Module, optimizer: torch.optim.Optimizer, moment: str) -> dict[str, Tensor]:
    """One of Adam's moments ("exp_avg" or "exp_avg_sq") for each parameter, 0 for one that is frozen.

    Before the first step there are none.
    """
    moving = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    return {
        name: optimizer.state[parameter][moment] if parameter in optimizer.state else torch.zeros_like(parameter)
        for name, parameter in network.named_parameters()
        if optimizer.state and parameter in moving
    }


def steps_of(optimizer: torch.optim.Optimizer) -> int:
    """How many steps an optimiser has taken: fewer than its run if it started later."""
    return max((int(state["step"]) for state in optimizer.state.values()), default=0)


def restore_moments(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    first: dict[str, Tensor] | None,
    second: dict[str, Tensor],
    step: int,
    path: Path,
) -> None:
    """Restore Adam's moments; ``first`` is None if beta1 is 0, where it is not used.

    Raises:
        CheckpointError: the moments do not fit the parameters.
    """
    moving = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    owned = [(name, parameter) for name, parameter in network.named_parameters() if parameter in moving]
    shapes = {name: parameter.shape for name, parameter in owned} if step else {}
    for moments in (first, second):
        if moments is not None and {name: moment.shape for name, moment in moments.items()} != shapes:
            raise CheckpointError(f"{path}: the optimiser's moments do not fit the parameters; the file is damaged.")
    for name, moment in second.items():
        parameter = network.get_parameter(name)
        before = torch.zeros_like(parameter) if first is None else first[name].to(parameter.device, parameter.dtype)
        optimizer.state[parameter] = {
            "step": torch.tensor(float(step), device=parameter.device),
            "exp_avg": before,
            "exp_avg_sq": moment.to(parameter.device, parameter.dtype),
        }
