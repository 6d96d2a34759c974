"""Steps run eagerly or as a graph with the same result; a graph that cannot be had, or is wrong, is done without."""

from __future__ import annotations

import pytest
import torch

from relatent.core import execution
from relatent.core.errors import UnknownNameError
from relatent.core.execution import GRAPH, WARM_UP, Repeated, resolved_execution

CPU = torch.device("cpu")


class Walk:
    """A step that moves a number by a factor, and says where it was."""

    def __init__(self):
        self.place = torch.ones(2)
        self.calls = 0

    def __call__(self):
        self.calls += 1
        before = self.place.clone()
        self.place.mul_(1.5)
        return (before,)

    def state(self):
        return [self.place]


@pytest.fixture
def walk():
    return Walk()


@pytest.mark.parametrize(
    ("name", "device", "chosen"),
    [("auto", "cpu", "eager"), ("auto", "cuda", "graph"), ("auto", "mps", "eager"), ("compile", "cpu", "compile")],
)
def test_choice(name, device, chosen):
    assert resolved_execution(name, torch.device(device)) == chosen


def test_unknown_choice():
    with pytest.raises(UnknownNameError, match="did you mean graph"):
        resolved_execution("graphs", CPU)


@pytest.mark.parametrize("how", ["eager", "graph", "compile"])
def test_steps_follow_each_other(walk, how):
    repeated = Repeated(CPU, how)
    places = [repeated.run(walk, walk.state)[0] for _ in range(8)]
    assert torch.equal(torch.stack(places)[:, 0], 1.5 ** torch.arange(8.0))
    assert torch.equal(walk.place, torch.full((2,), 1.5**8))


def test_the_check_of_a_graph_costs_one_step(walk):
    repeated = Repeated(CPU, GRAPH)
    calls = []
    for _ in range(WARM_UP + 3):
        repeated.run(walk, walk.state)
        calls.append(walk.calls)
    assert calls == [1, 2, 4, 5, 6]


def test_kinds_are_captured_apart(walk):
    repeated = Repeated(CPU, GRAPH)

    def other():
        walk.place.add_(1.0)
        return (walk.place.clone(),)

    for _ in range(5):
        repeated.run(walk, walk.state, kind="walk")
        repeated.run(other, walk.state, kind="other")
    expected = 1.0
    for _ in range(5):
        expected = expected * 1.5 + 1
    assert walk.place[0] == pytest.approx(expected)
    assert set(repeated._graphs) == {"walk", "other"}


def test_without_a_graph_where_none_can_be_captured(walk, monkeypatch):
    def refuse(*_):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(execution, "_Graph", refuse)
    repeated = Repeated(CPU, GRAPH)
    with pytest.warns(UserWarning, match=r"without a CUDA graph: it could not be captured \(operation not permitted"):
        places = [float(repeated.run(walk, walk.state)[0][0]) for _ in range(6)]
    assert places == [1.5**n for n in range(6)]


@pytest.mark.parametrize("wrong", ["state", "outputs"])
def test_without_a_graph_that_does_something_else(walk, monkeypatch, wrong):
    class Wrong(execution._Graph):
        def replay(self, step):
            (found,) = super().replay(step)
            if wrong == "state":
                walk.place.mul_(1.1)
            return (found * 1.1 if wrong == "outputs" else found,)

    monkeypatch.setattr(execution, "_Graph", Wrong)
    repeated = Repeated(CPU, GRAPH)
    with pytest.warns(UserWarning, match="its replay differs from the eager step"):
        places = [float(repeated.run(walk, walk.state)[0][0]) for _ in range(6)]
    assert places == [1.5**n for n in range(6)]
    assert walk.place[0] == pytest.approx(1.5**6)


def test_what_a_step_returned_stays(walk):
    """A replay writes over the tensors of the one before; what was handed out is not among them."""
    repeated = Repeated(CPU, GRAPH)

    def step():
        walk()
        return (walk.place,)  # the very tensor that the next step changes

    places = [repeated.run(step, walk.state)[0] for _ in range(7)][WARM_UP:]
    assert [float(place[0]) for place in places] == [1.5**n for n in range(WARM_UP + 1, 8)]
