"""How an inversion is done: the presets, and the choices behind them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import torch

from inversion.inversion import SPACES
from inversion.losses.loss import LossWeights
from relatent.core.errors import UnknownNameError, UsageError
from relatent.core.precision import AUTO, choose
from stylegan.bounds import require_number, require_whole

CPU = torch.device("cpu")
DEFAULT_SEED = 303
DEFAULT_PRESET = "balanced"


@dataclass(frozen=True)
class LbfgsSettings:
    """Preconditioned L-BFGS steps of latents; see inversion/optim/lbfgs.py.

    Attributes:
        damping: weight of S^-1 beside J^T J, S being the covariance of w; with less, steps along directions that hardly
            change the picture are longer.
        step: factor on the preconditioner: the length of the first step, as a share of the Gauss-Newton step.
        memory: pairs in the history; 0 for none.
    """

    damping: float = 2e-3
    step: float = 0.3
    memory: int = 20

    def __post_init__(self) -> None:
        for name in ("damping", "step"):
            require_number(name, getattr(self, name), 1e-9)
        require_whole("memory", self.memory, 0, 1024)


@dataclass(frozen=True)
class OptimiserSettings:
    """One optimisation of latents and noise.

    Attributes:
        space: "w" optimises one w for all layers, "w+" one for each.
        num_steps: how many.
        learning_rate: of Adam, at its highest.
        lr_rampup_length: share of the steps over which the rate rises linearly from 0.
        lr_rampdown_length: share of the steps over which it falls to 0 along a cosine.
        lbfgs: how latents move by preconditioned L-BFGS; None for Adam. Noise maps always move by Adam.
        initial_noise_factor: noise added to the latents at the start, in standard deviations of w.
        noise_ramp_length: share of the steps after which that noise has faded out.
        weights: of the loss.
        style_norm: that ``weights.styles`` pulls to, as a share of what the average w's styles have.
        optimise_noise: optimise the noise maps too; else the network's own are used.
        keep_best: keep the step with the smallest loss; else the last, as the paper does.
    """

    space: str = "w+"
    num_steps: int = 300
    learning_rate: float = 0.1
    lr_rampup_length: float = 0.05
    lr_rampdown_length: float = 0.25
    lbfgs: LbfgsSettings | None = None
    initial_noise_factor: float = 0.05
    noise_ramp_length: float = 0.75
    weights: LossWeights = field(default_factory=LossWeights)
    style_norm: float = 1.0
    optimise_noise: bool = True
    keep_best: bool = True

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise UsageError(f'the space is {self.space!r}; expected "w" or "w+".')
        if self.num_steps < 1:
            raise UsageError(f"num_steps is {self.num_steps}; expected at least 1.")
        require_number("style_norm", self.style_norm, 1e-3)


@dataclass(frozen=True)
class TuningSettings:
    """One pivotal tuning of the generator; see inversion/optim/pivotal_tuning.py.

    Attributes:
        num_steps: steps of Adam.
        learning_rate: of the factors, at its highest.
        lr_rampup_length: share of the steps over which the rate rises linearly from 0.
        lr_rampdown_length: share of the steps over which it falls to 0 along a cosine.
        rank: of what is added to each weight.
        weights: of the loss at the pivot, and of the locality term.
        locality: weight of the term that keeps the network as it was around the pivot; 0 for none.
        locality_interval: steps between its turns.
        locality_radius: how far from the pivot it looks, in standard deviations of w.
    """

    num_steps: int = 60
    learning_rate: float = 0.01
    lr_rampup_length: float = 0.15  # Adam's first steps are as long as any, and leap before they know where to
    lr_rampdown_length: float = 0.3
    rank: int = 16
    weights: LossWeights = field(default_factory=lambda: LossWeights(pixels=5.0, noise=0.0))
    locality: float = 0.1
    locality_interval: int = 4
    locality_radius: float = 0.5


# The projector of the StyleGAN2 paper (Karras et al. 2020, appendix D): the yardstick.
PAPER = OptimiserSettings(space="w", num_steps=1000, keep_best=False)

# Chosen by benchmarks.sweep. From an encoder's start twice the paper's rate comes closer in every measure but the
# plausibility of latents, of which a stronger pull towards a single w gives a part back.
BALANCED = OptimiserSettings(
    space="w+",
    num_steps=300,
    learning_rate=0.2,
    initial_noise_factor=0.02,
    noise_ramp_length=0.5,
    weights=LossWeights(pixels=5.0, delta=0.2),
)

# The same with the network's preconditioner. Noise on the latents would hide whether a step lowered the loss. Adam's
# steps, all of one length, keep the norm of styles by themselves; L-BFGS would end at small norms, where edits
# overshoot.
BALANCED_PRECONDITIONED = dataclasses.replace(
    BALANCED,
    num_steps=100,
    lbfgs=LbfgsSettings(),
    lr_rampup_length=0.0,
    lr_rampdown_length=0.5,
    initial_noise_factor=0.0,
    weights=dataclasses.replace(BALANCED.weights, styles=0.3),
    style_norm=1.4,
)

# What tuning starts from: the closer it comes by itself, the better an edit of the tuned face can be taken back.
PIVOT = dataclasses.replace(BALANCED_PRECONDITIONED, num_steps=150)

# What an encoder leaves to be done, by latents alone: as many steps as take a hundredth of the paper's time. So few
# hardly change the norm of styles, and are all needed for the picture.
REFINEMENT = dataclasses.replace(
    BALANCED_PRECONDITIONED,
    num_steps=9,
    lr_rampdown_length=0.0,
    optimise_noise=False,
    weights=BALANCED.weights,
    style_norm=1.0,
)

TUNING = TuningSettings()


@dataclass(frozen=True)
class Plan:
    """What is done to a photo, in this order.

    Attributes:
        encoder_iterations: how often the encoder looks at the photo and what it has drawn so far; 0 for never.
        refinement: steps that make up for what the encoder missed; None for none.
        optimiser: None for no optimisation.
        tuning: None for no tuning of the generator.
        precision: of the features of optimisation and tuning, one of relatent.core.precision.PRECISIONS.
    """

    encoder_iterations: int = 0
    refinement: OptimiserSettings | None = None
    optimiser: OptimiserSettings | None = None
    tuning: TuningSettings | None = None
    precision: str = "float32"

    @property
    def space(self) -> str:
        """Where the latents lie, "w" or "w+"."""
        return self.optimiser.space if self.optimiser else "w+"

    @property
    def preconditioned(self) -> bool:
        """Whether it needs the network's preconditioner."""
        return any(part is not None and part.lbfgs is not None for part in (self.refinement, self.optimiser))


PRESETS: dict[str, Plan] = {
    "fast": Plan(encoder_iterations=5),
    "balanced": Plan(encoder_iterations=5, optimiser=BALANCED),
    "best": Plan(encoder_iterations=5, optimiser=BALANCED, tuning=TUNING),
    "paper": Plan(optimiser=PAPER),
}
# The same for a network whose preconditioner was measured.
PRECONDITIONED_PRESETS: dict[str, Plan] = {
    "fast": Plan(encoder_iterations=1, refinement=REFINEMENT),
    "balanced": Plan(encoder_iterations=1, optimiser=BALANCED_PRECONDITIONED),
    "best": Plan(encoder_iterations=1, optimiser=PIVOT, tuning=TUNING),
    "paper": PRESETS["paper"],
}
PRESET_NAMES = tuple(PRESETS)


def presets(preconditioned: bool) -> dict[str, Plan]:
    """The presets by name; ``preconditioned`` where the network's preconditioner is known."""
    return PRECONDITIONED_PRESETS if preconditioned else PRESETS


def plan_for(
    preset: str,
    *,
    space: str | None = None,
    num_steps: int | None = None,
    precision: str = "float32",
    device: torch.device = CPU,
    preconditioned: bool = False,
) -> Plan:
    """What a preset does, with what the user chose in place of its own.

    Args:
        preset: a name of PRESET_NAMES.
        space: None for the preset's own.
        num_steps: of the optimiser; None for the preset's own.
        precision: of the features, one of relatent.core.precision.CHOICES.
        device: whose arithmetic "auto" goes by.
        preconditioned: the network has a preconditioner. It is one of W+: W is optimised without it.

    Raises:
        UnknownNameError: no such preset or precision.
        UsageError: a choice that cannot be meant, or steps for a preset that takes none.
    """
    if preset not in PRESETS:
        raise UnknownNameError("preset", preset, PRESETS)
    plan = presets(preconditioned and space != "w")[preset]
    if plan.optimiser is None and precision == AUTO:
        precision = "float32"  # which is what a preset has that leaves no choice
    plan = dataclasses.replace(plan, precision=choose(precision, device))
    chosen = {name: value for name, value in {"space": space, "num_steps": num_steps}.items() if value is not None}
    if plan.optimiser is None:
        unused = [*chosen, *(["precision"] if plan.precision != "float32" else [])]
        if unused:
            raise UsageError(
                f"preset {preset} does not optimise, so it has no {' and no '.join(unused)}. Use balanced."
            )
        return plan
    return dataclasses.replace(plan, optimiser=dataclasses.replace(plan.optimiser, **chosen))  # type: ignore[arg-type]
