"""The presets of inversion, and the settings of their stages."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import torch

from inversion.inversion import SPACES
from inversion.losses.loss import LossWeights
from relatent.core.errors import UnknownNameError, UsageError
from relatent.core.precision import AUTO, resolved_precision
from stylegan.bounds import require_number, require_whole

CPU = torch.device("cpu")
DEFAULT_SEED = 303  # of NVIDIA's projector, projector.py of StyleGAN2-ADA
DEFAULT_PRESET = "balanced"


@dataclass(frozen=True)
class LbfgsSettings:
    """Preconditioned L-BFGS steps of latents; see inversion/optim/lbfgs.py.

    Attributes:
        damping: weight of S^-1 relative to J^T J, S being the covariance of w; with a smaller value, steps are longer
            in directions that hardly change the picture.
        step: factor on the preconditioner: length of the first step relative to a Gauss-Newton step.
        memory: number of pairs in the history; 0 for none.
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
        num_steps: number of steps.
        learning_rate: of Adam, the highest of the schedule.
        lr_rampup_length: share of the steps over which the rate rises linearly from 0.
        lr_rampdown_length: share of the steps over which it falls to 0 along a cosine.
        lbfgs: preconditioned L-BFGS for the latents; None for Adam. Noise maps are always optimised by Adam.
        initial_noise_factor: noise added to the latents at the start, in standard deviations of w.
        noise_ramp_length: share of the steps after which that noise has faded out.
        weights: of the loss.
        style_norm: target of the style norm regulariser, relative to the norms of the average w.
        optimise_noise: optimise the noise maps too; else the network's own are used.
        keep_best: return the step with the smallest loss; else the last, as the paper does.
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
        learning_rate: of the factors, the highest of the schedule.
        lr_rampup_length: share of the steps over which the rate rises linearly from 0.
        lr_rampdown_length: share of the steps over which it falls to 0 along a cosine.
        rank: of the update of each weight.
        weights: of the loss at the pivot, and of the locality regulariser.
        locality: weight of the locality regulariser, which preserves the network around the pivot; 0 for none.
        locality_interval: steps between its evaluations.
        locality_radius: distance from the pivot at which it is evaluated, in standard deviations of w.
    """

    num_steps: int = 60
    learning_rate: float = 0.01
    lr_rampup_length: float = 0.15  # Adam's first steps have full length while its estimates are still poor
    lr_rampdown_length: float = 0.3
    rank: int = 16
    weights: LossWeights = field(default_factory=lambda: LossWeights(pixels=5.0, noise=0.0))
    locality: float = 0.1
    locality_interval: int = 4
    locality_radius: float = 0.5


# The projector of the StyleGAN2 paper (Karras et al. 2020, appendix D), as a baseline.
PAPER = OptimiserSettings(space="w", num_steps=1000, keep_best=False)

# Chosen by benchmarks.sweep. Started from an encoder, twice the paper's learning rate improves all measures except the
# ws distance, which a larger weight of the delta regularisation partly restores.
BALANCED = OptimiserSettings(
    space="w+",
    num_steps=300,
    learning_rate=0.2,
    initial_noise_factor=0.02,
    noise_ramp_length=0.5,
    weights=LossWeights(pixels=5.0, delta=0.2),
)

# The same with the network's preconditioner. Without noise on the latents, because step control compares losses. Adam
# does not shrink the norm of styles, but L-BFGS does, and then edits overshoot; hence the style norm regulariser.
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

# The pivot of tuning. More steps than `balanced`: the closer the pivot, the better edits of the tuned face undo.
PIVOT = dataclasses.replace(BALANCED_PRECONDITIONED, num_steps=150)

# A short optimisation of the latents after the encoder, in a hundredth of the time of `paper`. So few steps hardly
# change the norm of styles, so there is no style norm regulariser.
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
    """The stages of an inversion, in this order.

    Attributes:
        encoder_iterations: iterations of the residual encoder; 0 for no encoder.
        refinement: a short optimisation after the encoder; None for none.
        optimiser: None for no optimisation.
        tuning: None for no pivotal tuning.
        precision: of the features of optimisation and tuning, one of relatent.core.precision.PRECISIONS.
    """

    encoder_iterations: int = 0
    refinement: OptimiserSettings | None = None
    optimiser: OptimiserSettings | None = None
    tuning: TuningSettings | None = None
    precision: str = "float32"

    @property
    def space(self) -> str:
        """The space of the latents, "w" or "w+"."""
        return self.optimiser.space if self.optimiser else "w+"

    @property
    def preconditioned(self) -> bool:
        """Whether a stage needs the network's preconditioner."""
        return any(part is not None and part.lbfgs is not None for part in (self.refinement, self.optimiser))


PRESETS: dict[str, Plan] = {
    "fast": Plan(encoder_iterations=5),
    "balanced": Plan(encoder_iterations=5, optimiser=BALANCED),
    "best": Plan(encoder_iterations=5, optimiser=BALANCED, tuning=TUNING),
    "paper": Plan(optimiser=PAPER),
}
# The same for networks with a preconditioner.
PRECONDITIONED_PRESETS: dict[str, Plan] = {
    "fast": Plan(encoder_iterations=1, refinement=REFINEMENT),
    "balanced": Plan(encoder_iterations=1, optimiser=BALANCED_PRECONDITIONED),
    "best": Plan(encoder_iterations=1, optimiser=PIVOT, tuning=TUNING),
    "paper": PRESETS["paper"],
}
PRESET_NAMES = tuple(PRESETS)


def presets(preconditioned: bool) -> dict[str, Plan]:
    """The presets by name; ``preconditioned`` if the network has a preconditioner."""
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
    """The stages of a preset, with the user's values in place of its own.

    Args:
        preset: one of PRESET_NAMES.
        space: None for the preset's own.
        num_steps: of the optimiser; None for the preset's own.
        precision: of the features, one of relatent.core.precision.CHOICES.
        device: for which "auto" chooses the precision.
        preconditioned: the network has a preconditioner. It is used in W+ only.

    Raises:
        UnknownNameError: there is no such preset or precision.
        UsageError: an invalid value, or an option of the optimiser for a preset without one.
    """
    if preset not in PRESETS:
        raise UnknownNameError("preset", preset, PRESETS)
    plan = presets(preconditioned and space != "w")[preset]
    if plan.optimiser is None and precision == AUTO:
        precision = "float32"  # precision applies to optimisation and tuning only
    plan = dataclasses.replace(plan, precision=resolved_precision(precision, device))
    chosen = {name: value for name, value in {"space": space, "num_steps": num_steps}.items() if value is not None}
    if plan.optimiser is None:
        unused = [*chosen, *(["precision"] if plan.precision != "float32" else [])]
        if unused:
            raise UsageError(
                f"preset {preset} does not optimise, so it has no {' and no '.join(unused)}. Use balanced."
            )
        return plan
    return dataclasses.replace(plan, optimiser=dataclasses.replace(plan.optimiser, **chosen))  # type: ignore[arg-type]
