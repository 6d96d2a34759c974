"""Several processes, or a batch in parts, do what one process does with the whole batch."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys

import pytest
import torch

from relatent.core.errors import UsageError
from stylegan.training.shard import Shard, computing, draw
from stylegan.training.trainer import Trainer

CPU = torch.device("cpu")
STEPS = 10
# What each process runs: ten steps in float64, and the losses of each.
PROGRAM = """
import json, sys
from pathlib import Path
import torch
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
from stylegan.training import processes
from stylegan.training.settings import TrainingSettings
from stylegan.training.trainer import Trainer
settings = TrainingSettings.from_json(Path(sys.argv[1]).read_text(), Path(sys.argv[1]))
images = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
with processes.joined(torch.device("cpu")) as device:
    trainer = Trainer(settings, images, None, device)
    losses = [(tick.loss_g, tick.loss_d, tick.r1, tick.path_length) for tick in
              (trainer.run_tick(1) for _ in range(int(sys.argv[2])))]
    weights = {name: float(value.double().sum()) for name, value in trainer.average.named_parameters()}
    if processes.is_main():
        print(json.dumps({"losses": losses, "weights": weights, "parts": trainer.parts}))
"""


@pytest.fixture
def settings(tiny_settings):
    made = tiny_settings(batch=8, augment_strength=0.5, ada=True)
    weights = dataclasses.replace(made.loss_weights, path_length_weight=2.0, path_length_interval=4)
    return dataclasses.replace(made, loss_weights=weights)


def start(file, program, *, rank=0, world=1, port=0):
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    if world > 1:
        env |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank)}
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-W", "ignore", str(program), str(file), str(STEPS)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_two_processes_do_what_one_does_with_the_doubled_batch(settings, tmp_path):
    """Ten steps in float64 with R1, path lengths, noise, mixing and both augmentations."""
    file, program = tmp_path / "settings.json", tmp_path / "program.py"
    file.write_text(settings.to_json())
    program.write_text(PROGRAM)
    port = free_port()
    running = [start(file, program), *(start(file, program, rank=r, world=2, port=port) for r in range(2))]
    outputs = [result(process) for process in running]
    one, two = json.loads(outputs[0]), json.loads(outputs[1])
    assert outputs[2] == ""  # one log
    assert (one["parts"], two["parts"]) == (1, 2)
    assert one["losses"] == two["losses"]
    assert one["losses"][0] != one["losses"][-1]
    for name, value in one["weights"].items():
        assert two["weights"][name] == pytest.approx(value, rel=1e-9, abs=1e-9), name


def test_gradient_accumulation_does_what_the_whole_batch_does(settings):
    images = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8)
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
