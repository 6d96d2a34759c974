"""Several processes, or a batch in parts, do what one process does with the whole batch."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import socket
import warnings
from pathlib import Path

import pytest
import torch

from relatent.core.errors import UsageError
from stylegan.training import processes
from stylegan.training.settings import TrainingSettings
from stylegan.training.shard import Shard, computing, draw
from stylegan.training.trainer import Trainer

CPU = torch.device("cpu")
STEPS = 10


def train(file, rank, world, port, says):
    """What each process runs: ten steps in float64; the main one tells the losses of each, and the weights."""
    warnings.simplefilter("ignore")
    if world > 1:  # as torchrun does
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    settings = TrainingSettings.from_json(Path(file).read_text(), Path(file))
    images = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    with processes.joined(CPU) as device:
        trainer = Trainer(settings, images, None, device)
        ticks = [trainer.run_tick(1) for _ in range(STEPS)]
        if processes.is_main():
            losses = [(tick.loss_g, tick.loss_d, tick.r1, tick.path_length) for tick in ticks]
            weights = {name: float(value.double().sum()) for name, value in trainer.average.named_parameters()}
            says.send((losses, weights, trainer.parts))
    says.close()


@pytest.fixture
def settings(tiny_settings):
    made = tiny_settings(batch=8, augment_strength=0.5, ada=True)
    weights = dataclasses.replace(made.loss_weights, path_length_weight=2.0, path_length_interval=4)
    return dataclasses.replace(made, loss_weights=weights)


def start(file, rank=0, world=1, port=0):
    """A process at work, and the end of the pipe on which it tells. Forked, it has everything imported."""
    context = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")
    hears, says = context.Pipe(duplex=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # later Pythons dislike forks
        process = context.Process(target=train, args=(file, rank, world, port, says))
        process.start()
    says.close()
    return process, hears


def told(process, hears):
    """All that a process has told, when it has ended well."""
    found = []
    while hears.poll(300):
        try:
            found.append(hears.recv())
        except EOFError:
            break
    process.join()
    assert process.exitcode == 0
    return found


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_two_processes_do_what_one_does_with_the_doubled_batch(settings, tmp_path):
    """Ten steps in float64 with R1, path lengths, noise, mixing and both augmentations."""
    file = tmp_path / "settings.json"
    file.write_text(settings.to_json())
    port = free_port()
    running = [start(file), *(start(file, rank, 2, port) for rank in range(2))]
    [one], [two], rest = (told(*process) for process in running)
    assert rest == []  # one log
    (losses, weights, parts), (losses_of_two, weights_of_two, parts_of_two) = one, two
    assert (parts, parts_of_two) == (1, 2)
    assert losses == losses_of_two
    assert losses[0] != losses[-1]
    for name, value in weights.items():
        assert weights_of_two[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name


def test_gradient_accumulation_does_what_the_whole_batch_does(settings):
    images = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    weights = dataclasses.replace(settings.loss_weights, path_length_weight=0.0)
    settings = dataclasses.replace(settings, loss_weights=weights)
    torch.set_default_dtype(torch.float64)
    try:
        whole = Trainer(settings, images, None, CPU)
        parts = Trainer(dataclasses.replace(settings, accumulate=2), images, None, CPU)
        for _ in range(4):
            first, second = whole.run_tick(1), parts.run_tick(1)
            assert (first.loss_g, first.loss_d, first.r1) == (second.loss_g, second.loss_d, second.r1)
        for one, two in zip(whole.average.parameters(), parts.average.parameters(), strict=True):
            assert torch.allclose(one, two, rtol=1e-8, atol=1e-10)
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_second_discriminator_learns_from_parts_as_from_the_whole(tiny_settings):
    """Its spectral normalisation moves once a step, however many parts a batch has."""
    images = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    settings = tiny_settings(batch=8, augment_strength=0.5, feature_weight=0.5)
    whole = Trainer(settings, images, None, CPU)
    parts = Trainer(dataclasses.replace(settings, accumulate=2), images, None, CPU)
    for trainer in (whole, parts):
        trainer.train_step()
    for one, two in zip(
        whole.feature_discriminator.heads.state_dict().values(),
        parts.feature_discriminator.heads.state_dict().values(),
        strict=True,
    ):
        assert torch.allclose(one, two, atol=1e-4)
    gradients = [torch.cat([p.grad.flatten() for p in t.generator.parameters()]) for t in (whole, parts)]
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.999


def test_parts_share_the_numbers_of_the_whole():
    def numbers(shard, count):
        torch.manual_seed(3)
        with computing(shard):
            return draw(lambda n: torch.rand(n, 2), count)

    whole = numbers(Shard(0, 1, 8), 8)
    parts = [Shard(index, 2, 4, group=4) for index in range(2)]
    assert sorted(row for part in parts for row in part.rows.tolist()) == list(range(8))
    for part in parts:
        assert torch.equal(numbers(part, 4), whole[part.rows])
        torch.manual_seed(3)
        half = torch.rand(4, 2)  # half of the batch draws for that half alone
        assert torch.equal(numbers(part, 2), half[part.rows[:2]])


def test_groups_of_the_minibatch_deviation_stay_together():
    groups = torch.arange(16).reshape(4, 4).t().tolist()  # as mean_over_groups_stddev forms them
    for index in range(2):
        rows = Shard(index, 2, 8, group=4).rows
        for group in rows.reshape(4, 2).t().tolist():
            assert group in groups


def test_a_batch_that_cannot_be_divided(tiny_settings):
    with pytest.raises(UsageError, match="equal parts"):
        tiny_settings(batch=4, accumulate=3)
