"""Random numbers by global sample index: a batch that is computed in parts sees what it would see as a whole.

Every part draws the numbers of the whole batch and keeps its own rows. The random numbers of a step therefore depend
neither on the number of processes nor on gradient accumulation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from relatent.core.errors import UsageError
from stylegan.training import processes


@dataclass(frozen=True)
class Shard:
    """One of ``parts`` equal parts of a batch.

    The discriminator takes the deviation over groups of samples that lie a quarter of the batch apart, for groups of
    four. A part consists of whole groups, so that the deviations are those of the whole batch.

    Attributes:
        index: of this part, from 0.
        parts: how many there are.
        size: samples in each.
        group: samples in a group of the minibatch deviation, which divides ``size``.
    """

    index: int
    parts: int
    size: int
    group: int = 1

    @property
    def rows(self) -> Tensor:
        """Global indices of this part's samples, int64 [size]."""
        order = torch.arange(self.parts * self.size).reshape(self.group, self.parts, self.size // self.group)
        return order[:, self.index].reshape(-1)


_current: ContextVar[Shard | None] = ContextVar("shard", default=None)


@contextmanager
def computing(shard: Shard) -> Iterator[None]:
    """Within this context, :func:`draw` gives the rows of ``shard``."""
    token = _current.set(shard)
    try:
        yield
    finally:
        _current.reset(token)


def draw(sample: Callable[[int], Tensor], count: int, dim: int = 0) -> Tensor:
    """Random numbers for ``count`` samples: the current part's rows of those for all samples.

    Args:
        sample: draws the numbers of so many samples.
        count: samples of this part; fewer than the part has means its first ones.
        dim: the dimension that counts samples.
    """
    shard = _current.get()
    if shard is None or shard.parts == 1:
        return sample(count)
    rows = shard.rows[:count]
    whole = count * shard.parts  # the first half of all parts together is the first half of the batch
    if int(rows.max()) >= whole:
        whole = shard.size * shard.parts
    numbers = sample(whole)
    return numbers.index_select(dim, rows.to(numbers.device))


def shards_of(batch: int, accumulate: int, group: int) -> list[Shard]:
    """The parts of a batch that this process computes.

    Args:
        batch: samples of all processes together.
        accumulate: parts that each process computes one after the other.
        group: largest number of samples in a group of the minibatch deviation.

    Raises:
        UsageError: the batch cannot be divided among the processes.
    """
    workers = processes.count()
    parts = workers * accumulate
    size, rest = divmod(batch, parts)
    if rest:
        raise UsageError(
            f"a batch of {batch} cannot be divided into {parts} equal parts ({workers} processes, "
            f"{accumulate} parts each). Choose --batch as a multiple of {parts}."
        )
    group = min(group, size)
    while size % group:
        group -= 1
    first = processes.rank() * accumulate
    return [Shard(first + index, parts, size, group) for index in range(accumulate)]
