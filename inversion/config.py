"""`InvertConfig`: all options of an inversion, with their defaults, checks and help texts.

The options of `python -m inversion.project` are generated from its fields
(:func:`relatent.core.command.config_options`). The page, the batch and Python use the same class.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from inversion.encoders.encoder import Encoder
from inversion.losses.perceptual import BACKBONES
from inversion.optim.preconditioner import Preconditioner
from inversion.optim.preconditioner_file import preconditioner_for
from inversion.presets import DEFAULT_PRESET, DEFAULT_SEED, PRESET_NAMES, Plan, plan_for
from relatent.core.errors import UsageError
from relatent.core.execution import AUTO, EXECUTIONS
from relatent.core.numbers import as_whole, digits_in
from relatent.core.options import described
from relatent.core.precision import CHOICES, check_precision
from stylegan.networks.generator import Generator

SPACES = ("w", "w+")
Which = Literal["largest", "all"] | int


@dataclass(frozen=True)
class InvertConfig:
    """How photos are inverted. None stands for the default of the preset or the network.

    Raises:
        UsageError: an invalid value.
        UnknownNameError: there is no such preset.
    """

    preset: str = field(
        default=DEFAULT_PRESET, metadata=described("How much work a photo is worth.", choices=PRESET_NAMES)
    )
    space: str | None = field(
        default=None,
        metadata=described("One latent for all layers, or one each.  [default: the preset's]", choices=SPACES),
    )
    num_steps: int | None = field(
        default=None, metadata=described("Steps of the optimiser.  [default: the preset's]", least=1)
    )
    seed: int = field(
        default=DEFAULT_SEED, metadata=described("Of the noise the optimiser starts from.", least=-(2**63))
    )
    encoder: str | Path | Encoder | None = field(
        default=None,
        metadata=described(
            "The encoder to start with.  [default: the network's own, if it has one]", metavar="NAME_OR_FILE"
        ),
    )
    preconditioner: str | Path | Preconditioner | None = field(
        default=None,
        metadata=described(
            "The network's preconditioner: a third of the steps.  [default: the network's own, if it has one]",
            metavar="FILE",
            aliases=("--curvature",),  # the name of an earlier version
        ),
    )
    mask: str | Path | None = field(
        default=None,
        metadata=described(
            "Restricts the loss: to white in a picture of the photo's size, or to the face's hull.  [default: none]",
            metavar="FILE|auto",
        ),
    )
    lpips: str = field(default="embedded", metadata=described("Whose features the loss compares.", choices=BACKBONES))
    precision: str = field(
        default="float32",
        metadata=described(
            "Of the features; latents and losses are float32. auto: bfloat16 where the device computes in it.",
            choices=CHOICES,
        ),
    )
    execution: str = field(
        default=AUTO,
        metadata=described(
            "How steps run: one operator after another, as a CUDA graph, or by torch.compile, which takes a minute at "
            "first. auto: graph on an NVIDIA GPU, else eager.",
            choices=EXECUTIONS,
        ),
    )
    align: bool = field(default=True, metadata=described("Find and crop the face, or take the centre square as it is."))
    face: Which = field(
        default="largest",
        metadata=described("Which face of a photo; N counts from 1, largest first.", metavar="largest|all|N", type=str),
    )
    keep_photo: bool = field(
        default=True,
        metadata=described(
            "Keep the face as the photo shows it in inversion.safetensors, for edits at the photo's resolution.",
            flag="--photo",
        ),
    )

    def __post_init__(self) -> None:
        for name in ("space", "lpips", "execution"):
            value, choices = getattr(self, name), fields_by_name()[name].metadata["choices"]
            if value is not None and value not in choices:
                raise UsageError(f"{name} is {value!r}; expected one of {', '.join(choices)}.")
        if self.num_steps is not None:
            object.__setattr__(self, "num_steps", as_whole("num_steps", self.num_steps, 1, 10**7))
        object.__setattr__(self, "seed", as_whole("seed", self.seed, -(2**63), 2**63 - 1))
        object.__setattr__(self, "face", parse_face(self.face))
        plan_for(self.preset, space=self.space, num_steps=self.num_steps, precision=self.precision)

    def plan(self, network: Generator) -> Plan:
        """The stages of the preset for a network, with the values that this configuration overrides.

        Raises:
            UsageError: an option that does not fit the preset, or a preconditioner of another network.
        """
        device = network.w_avg.device
        plan = plan_for(
            self.preset,
            space=self.space,
            num_steps=self.num_steps,
            precision=self.precision,
            device=device,
            preconditioned=preconditioner_for(network, self.preconditioner, self.lpips) is not None,
        )
        check_precision(plan.precision, device)
        return plan

    def report(self, network: Generator) -> dict[str, object]:
        """All settings that affect the result, as report.json records them under ``settings``."""
        choices = {"lpips": self.lpips, "align": self.align, "mask": _named(self.mask), "keep_photo": self.keep_photo}
        files = {"encoder": _named(self.encoder), "preconditioner": _named(self.preconditioner)}
        return {**dataclasses.asdict(self.plan(network)), **choices, **files}


def fields_by_name() -> dict[str, dataclasses.Field[Any]]:
    """The fields of :class:`InvertConfig`, which carry help text, choices and bounds in their metadata."""
    return {one.name: one for one in dataclasses.fields(InvertConfig)}


def parse_face(face: object) -> Which:
    """Parse "largest", "all", or a number from 1, which may be a string.

    Raises:
        UsageError: anything else.
    """
    if face == "largest":
        return "largest"
    if face == "all":
        return "all"
    number = digits_in(face) if isinstance(face, str) else face
    try:
        return as_whole("face", number, 1, 10**6)
    except UsageError:
        raise UsageError(f"face is {face!r:.60}; expected largest, all, or a number from 1.") from None


def _named(choice: object) -> str | None:
    """A file or name as it was given; for an object, "a" and its type."""
    if choice is None or isinstance(choice, str):
        return choice
    return str(choice) if isinstance(choice, Path) else f"a {type(choice).__name__}"
