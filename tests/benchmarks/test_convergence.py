"""Every method starts alike, plain L-BFGS is the textbook's, and curves are those of the best iterate so far."""

import io
import json

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from benchmarks import convergence
from benchmarks.convergence import Recorded, StepClock, main
from benchmarks.convergence_table import ADAM, BOTH, COLOURS, LBFGS, PRECONDITIONER
from benchmarks.plain_lbfgs import PlainHistory
from inversion.losses.loss import LossWeights
from inversion.losses.perceptual import load_perceptual
from inversion.optim.preconditioner import PreconditionerSettings, measure_preconditioner
from relatent.core.errors import UsageError
from stylegan import load


@pytest.fixture
def run(faces, tiny_file, tmp_path, monkeypatch):
    network = load(tiny_file)
    preconditioner = measure_preconditioner(network, PreconditionerSettings(pictures=4, probes=2, rank=8, batch=4))
    monkeypatch.setattr(convergence, "preconditioner_for", lambda _: preconditioner)

    def go():
        options = {"faces": faces, "network": tiny_file, "folder": tmp_path, "count": 2, "num-steps": 3, "batch": 2}
        arguments = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads((tmp_path / "convergence.json").read_text())

    return go


def test_the_benchmark(run, tmp_path, monkeypatch):
    found = run()
    assert list(found["starts"]) == ["w_avg"]  # the tiny network has no encoder
    methods = found["starts"]["w_avg"]
    assert list(methods) == list(COLOURS)
    assert {len(row["median"]) for row in methods.values()} == {4}
    assert len({row["median"][0] for row in methods.values()}) == 1  # the same start
    assert len({row["median"][1] for row in methods.values()}) == 3  # the first step knows no history
    assert methods[PRECONDITIONER]["median"][1] == methods[BOTH]["median"][1]
    assert methods[ADAM]["step_time"] == 1
    assert found["settings"][ADAM]["lbfgs"] is None
    assert found["settings"][PRECONDITIONER]["lbfgs"]["memory"] == 0 < found["settings"][BOTH]["lbfgs"]["memory"]
    for method in COLOURS:
        assert f"| w_avg | {method} |" in (tmp_path / "convergence.md").read_text()
    assert Image.open(io.BytesIO((tmp_path / "convergence.png").read_bytes())).width > 500
    monkeypatch.setattr(convergence, "optimise", None)  # all is known
    assert run()["starts"]["w_avg"][LBFGS]["median"] == methods[LBFGS]["median"]


def test_a_network_without_a_preconditioner(faces, tiny_file):
    with pytest.raises(UsageError, match="has no preconditioner"):
        main.main(["--faces", str(faces), "--network", str(tiny_file)], standalone_mode=False)


def test_plain_history_is_bfgs_from_a_multiple_of_the_identity():
    """Against the inverse Hessian updated as a matrix, each photo with its own (Nocedal and Wright 2006, eq. 6.17)."""
    seeded = torch.Generator().manual_seed(0)
    root = torch.randn(2, 4, 4, generator=seeded).double()
    hessian = root @ root.mT + torch.eye(4)
    history = PlainHistory(3, first=0.1)
    gradient = torch.randn(2, 1, 4, generator=seeded).double()
    first = history.apply(gradient, gradient)
    torch.testing.assert_close(first.flatten(1).norm(dim=1), torch.full((2,), 0.1).double())
    pairs = []
    for _ in range(3):
        step = torch.randn(2, 1, 4, generator=seeded).double()
        change = step @ hessian
        history.add(step, change, change)
        pairs.append((step.mT, change.mT))  # columns
    (step, change), eye = pairs[-1], torch.eye(4).double()
    inverse = (step.mT @ change) / (change.mT @ change) * eye
    for step, change in pairs:
        rho = 1 / (change.mT @ step)
        inverse = (eye - rho * step @ change.mT) @ inverse @ (eye - rho * change @ step.mT) + rho * step @ step.mT
    torch.testing.assert_close(history.apply(gradient, gradient).mT, inverse @ gradient.mT)


def test_curves_follow_the_smallest_loss(tiny_generator):
    with torch.no_grad():
        photo = tiny_generator.synthesis(tiny_generator.sample_w(1, seed=1)[:, None].repeat(1, 8, 1))
    target = Recorded(photo, load_perceptual())
    shades = (0.5, 0.1, 0.3, 0.0)
    for shade in shades:
        target.terms(photo * (1 - shade), LossWeights(pixels=5.0))
    (curve,) = target.curves()
    lpips = [round(float(value), 5) for value in torch.cat(target.lpips)]
    assert curve == [lpips[0], lpips[1], lpips[1], lpips[3]]


def test_the_clock_takes_the_middle_step():
    moments = iter([0.0, 1.0, 9.0, 10.5])
    clock = StepClock(lambda: next(moments))
    for _ in range(4):
        clock(None)
    assert clock.median() == 1.5
    assert StepClock().median() == 0
