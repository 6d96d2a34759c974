"""What `inversion.project` can be asked for, and which plan and settings follow from it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from inversion.optim.preconditioner_file import preconditioner_for
from inversion.pipeline import Which
from inversion.presets import DEFAULT_PRESET, DEFAULT_SEED, Plan, plan_for
from relatent.core.images import MAX_PIXELS
from stylegan.networks.generator import Generator


@dataclass(frozen=True)
class ProjectOptions:
    """What `inversion.project` was asked for; see :func:`inversion.invert_images` for the rest.

    Attributes:
        face: "largest", "all", or a number counted from 1.
        align: find and crop the face; else the centre square is taken.
        overwrite: redo what is already done.
        save_video: keep the optimisation's pictures as proj.mp4.
        batch_size: photos optimised together.
        max_pixels: a photo that claims more is not decoded.
    """

    preset: str = DEFAULT_PRESET
    space: str | None = None
    num_steps: int | None = None
    seed: int = DEFAULT_SEED
    encoder: str | None = None
    preconditioner: str | None = None
    mask: str | None = None
    lpips: str = "embedded"
    precision: str = "float32"
    face: Which = "largest"
    align: bool = True
    overwrite: bool = False
    save_video: bool = False
    batch_size: int = 4
    max_pixels: int = MAX_PIXELS

    def settings(self, network: Generator) -> dict[str, object]:
        """Everything that decides the result, as report.json records it."""
        own = {"lpips": self.lpips, "align": self.align, "mask": self.mask}
        files = {"encoder": self.encoder, "preconditioner": self.preconditioner}
        return {**dataclasses.asdict(self.plan(network)), **own, **files}

    def plan(self, network: Generator) -> Plan:
        """The stages; raises UsageError for a choice that cannot be meant."""
        preconditioned = preconditioner_for(network, self.preconditioner, self.lpips) is not None
        return plan_for(
            self.preset,
            space=self.space,
            num_steps=self.num_steps,
            precision=self.precision,
            device=network.w_avg.device,
            preconditioned=preconditioned,
        )
