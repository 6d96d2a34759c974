"""Several processes that train one network, as `torchrun` starts them.

Gradients are averaged by hand after the backward pass: R1 differentiates twice, which DistributedDataParallel's hooks
do not support. With one process, every function here does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from relatent.core.errors import UsageError


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if count() > 1 else 0


def is_main() -> bool:
    """Whether this process writes the results."""
    return rank() == 0


@contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """Join the processes that torchrun started, if any; gives the device of this one.

    Raises:
        UsageError: the environment does not say how to join them.
    """
    own = _join(device)
    try:
        yield own or device
    finally:
        if own:
            dist.destroy_process_group()


def _join(device: torch.device) -> torch.device | None:
    """The device of this process; None if it trains alone."""
    if "RANK" not in os.environ or not dist.is_available():  # WORLD_SIZE alone is set by some clusters, too
        return None
    try:
        world, local = (int(os.environ.get(name, usual)) for name, usual in (("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")))
        if world < 2:
            return None
        if device.type == "cuda":
            device = torch.device("cuda", local)
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except ValueError as error:
        raise UsageError(
            f"RANK is set and the rest of torchrun's environment is not as expected ({error!s:.200}). Start with "
            "torchrun, or unset RANK."
        ) from error
    return device


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its mean over the processes."""
    if count() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return
    flat = average(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def average(value: Tensor) -> Tensor:
    """The mean of a tensor over the processes."""
    if count() == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / count()


def agreed(flag: bool, device: torch.device) -> bool:
    """The first process's ``flag``, so that all of them stop at the same step."""
    if count() == 1:
        return flag
    value = torch.tensor(int(flag), device=device)
    dist.broadcast(value, 0)
    return bool(value)
