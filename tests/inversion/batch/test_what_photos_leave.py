"""What a photo leaves behind is freed at once. The garbage collector comes by seldom: what waits for it adds up.

A process that has everything loaded has hundreds of thousands of objects, and all are looked at only when a quarter as
many have been added. Three megabytes of tensors for each photo were freed so late that memory grew.
"""

from __future__ import annotations

import gc

import pytest
import torch

from inversion import InvertConfig
from inversion.batch.inverter import work_of
from inversion.batch.requests import Request
from inversion.optim.projector import forget_captured_steps
from inversion.pipeline import Pipeline
from inversion.project import demo_photo
from relatent.core.execution import EAGER, GRAPH
from stylegan import load


def left_by(work):
    """What only the garbage collector frees of what a call leaves."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        work()
        gc.collect()
        return list(gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("execution", [EAGER, GRAPH])
@pytest.mark.parametrize("preset", ["balanced", "preconditioned", "best"])
def test_no_tensor_waits_for_the_garbage_collector(tiny_file, tiny_preconditioner, few_steps, preset, execution):
    chosen = {"preconditioner": tiny_preconditioner} if preset == "preconditioned" else {"preset": preset}
    network, config = load(tiny_file), InvertConfig(execution=execution, **chosen)
    inverter = work_of(Pipeline(network, config), network).open()

    def invert():
        (answer,) = inverter.answer([Request(1, demo_photo())])
        assert len(answer.faces) == 1
        forget_captured_steps()

    invert()  # what is loaded once
    left = left_by(invert)
    assert not [tuple(one.shape) for one in left if isinstance(one, torch.Tensor)]
    assert len(left) < 150  # small things, such as the pointers with which safetensors writes
