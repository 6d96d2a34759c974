"""The search of a drag: steps of the latents until the points have arrived, or cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from editing.dragging.features import FeatureReader, layer_at
from editing.dragging.options import DragOptions
from editing.dragging.plausibility import Plausibility
from editing.dragging.steps import Stepper, derivative, metric_of
from editing.dragging.tracking import Tracker
from editing.edits import within_reach
from inversion import Inversion
from stylegan import Generator

Reason = Literal["arrived", "plausibility", "stuck", "steps", "stopped"]
REASONS: dict[Reason, str] = {
    "arrived": "every point has arrived",
    "plausibility": "going on would have changed the face too much",
    "stuck": "no step brings the points nearer",
    "steps": "the steps were used up",
    "stopped": "it was stopped",
}
RADIUS = 5.0  # of a patch, in per cent of the face's side
FARTHEST = 1.5  # that a point may move in one step, likewise
NEAREST = 0.15  # a step for less than this is not tried, likewise
REACH = 3.0  # how far from where it is expected a handle is searched, likewise
GROW, SHRINK = 1.5, 0.5  # of the way of a step after one that helped, and after one that did not
RESTORATIONS = 2  # in each step
OUTSIDE = 100.0  # weight of the mean squared change of pixels outside the mask, relative to the perceptual distance
# Features are read at a quarter of the network's rate, from 32 to 128 px (benchmarks/drag_sweep.py). "Drag Your GAN"
# reads the block of 128 px of networks of 512 and 1024 px.
LEVEL_SHARE, LEAST_LEVEL, LARGEST_LEVEL = 4, 32, 128
PROBE = 1e-3  # of the restoring direction, relative, for its derivative


@dataclass(frozen=True)
class DragStep:
    """One step, as passed to a progress callback.

    Attributes:
        index: 0 for the start.
        total: the most steps.
        points: where the handles are, float64 [N, 2] in pixels of the face.
        distances: how far from their targets, [N], in pixels of the face.
        face: the face so far.
    """

    index: int
    total: int
    points: np.ndarray
    distances: np.ndarray
    face: Inversion


Progress = Callable[[DragStep], object]


def usual_level(side: int) -> int:
    """The rate of the features that are tracked in a network of ``side`` px."""
    return min(max(side // LEVEL_SHARE, LEAST_LEVEL), LARGEST_LEVEL)


class Search:
    """One drag: its latents, and where its points are.

    Args:
        inversion: the face.
        network: draws it.
        starts: of the points, [N, 2] in pixels of the face.
        ends: their targets, likewise.
        weights: where the face may change, [R, R]; None for everywhere.
        shown: the mask of the dragged face, [1, 1, R, R].
        name: of the edit.
        options: of the drag.
    """

    def __init__(
        self,
        inversion: Inversion,
        network: Generator,
        starts: np.ndarray,
        ends: np.ndarray,
        weights: np.ndarray | None,
        shown: Tensor | None,
        name: str,
        options: DragOptions,
    ) -> None:
        self.inversion, self.network, self.shown, self.options = inversion, network, shown, options
        self.edits = {**inversion.edits, name: 1.0}
        device, self.side = network.w_avg.device, network.resolution
        layer = layer_at(network, options.level or usual_level(self.side))
        # Noise maps keep their place while the face moves, and would hold its features back.
        still = [torch.zeros_like(level) for level in network.synthesis.noise_buffers]
        tuned = {name: (left.to(device), right.to(device)) for name, (left, right) in (inversion.tuned or {}).items()}
        self.reader = FeatureReader(network, layer, still or None, tuned)
        self.ws = inversion.ws.to(device)
        self.points, self.targets = (torch.from_numpy(one).float().to(device) for one in (starts, ends))
        with torch.no_grad():
            first = self.reader.draw(self.ws)
        radius = self.percent(RADIUS if options.radius is None else options.radius)
        self.tracker = Tracker(self.reader, first.features, self.points, radius, self.percent(REACH))
        self.stepper = Stepper(metric_of(network), self.ws, layer.layers, options.damping)
        self.plausibility = Plausibility(network, first.image)
        self.kept = None if weights is None else 1 - torch.from_numpy(weights).to(device)[None, None]
        self.first = first.image
        self.steps, self.change = 0, 0.0

    def percent(self, share: float) -> float:
        """A share of the face's side in pixels."""
        return self.side * share / 100

    def face(self) -> Inversion:
        """The face as it is now."""
        origin = self.inversion.ws if self.inversion.origin is None else self.inversion.origin
        ws = within_reach(self.ws.detach().cpu())
        return self.inversion.replace(ws=ws, origin=origin, edits=self.edits, mask=self.shown, space="w+")

    def carry_out(self, progress: Progress | None) -> Reason:
        """Step until the points have arrived, or cannot."""
        trust = self.percent(FARTHEST)
        tolerance = self.percent(self.options.tolerance)
        self._tell(progress)
        ws = self.ws.detach().requires_grad_(True)
        drawn = self.reader.draw(ws)
        jacobian: Tensor | None = None
        while True:
            way = self.targets - self.points
            if float(way.norm(dim=1).max()) <= tolerance:
                return "arrived"
            if self.steps >= self.options.num_steps:
                return "steps"
            if trust < self.percent(NEAREST):
                return "stuck"
            if jacobian is None:
                jacobian = derivative(self.tracker.places(drawn.features, self.points), ws)
            way = way * (trust / way.norm(dim=1, keepdim=True).clamp(min=trust))
            new = self.stepper.step(self.ws, jacobian, way)
            for _ in range(RESTORATIONS):
                new = self._restored(new, jacobian)
            new = new.requires_grad_(True)
            candidate = self.reader.draw(new)  # differentiable: if the step is taken, the next one starts from it
            self.steps += 1
            found = self.tracker.find(candidate.features, self.points + way)
            if not self._nearer(found):
                trust *= SHRINK
                continue
            change = self.plausibility.change(candidate.image)
            if change > self.options.limit:
                if trust * SHRINK >= self.percent(NEAREST):
                    trust *= SHRINK
                    continue
                return "plausibility"
            self.ws, self.points, self.change = new.detach(), found, change
            ws, drawn = new, candidate
            self.tracker.renew(drawn.features, found)
            jacobian, trust = None, min(self.percent(FARTHEST), trust * GROW)
            if self._tell(progress) is False:
                return "stopped"

    def _nearer(self, found: Tensor) -> bool:
        """Whether the points are nearer to their targets, all in all."""
        new, old = ((self.targets - points).square().sum() for points in (found, self.points))
        return bool(new < old)

    def _restored(self, ws: Tensor, jacobian: Tensor) -> Tensor:
        """ws after a step that brings the picture back towards the start, and leaves the points where they are.

        A Gauss-Newton step along one direction: its length minimises the linearised squared residual.
        """
        ws = ws.detach().requires_grad_(True)
        residual = self._residual(self.reader.draw(ws).image)
        (gradient,) = torch.autograd.grad(residual.square().sum(), ws)
        with torch.no_grad():
            direction = self.stepper.restoring(jacobian, gradient)
            length = direction.norm()
            if not float(length) > 0:
                return ws.detach()
            probe = PROBE * ws.norm() / length
            jvp = (self._residual(self.reader.draw(ws + probe * direction).image) - residual) / probe
            share = -(residual * jvp).sum() / jvp.square().sum().clamp(min=1e-20)
            return (ws + share.clamp(min=0) * direction).detach()

    def _residual(self, image: Tensor) -> Tensor:
        """A vector whose squared length says how far a picture is from the start, above all outside the mask."""
        seen = self.plausibility.residual(image)
        if self.kept is None:
            return seen
        outside = (image - self.first) * self.kept * (OUTSIDE / image.numel()) ** 0.5
        return torch.cat([seen, outside.flatten()])

    def _tell(self, progress: Progress | None) -> object:
        if progress is None:
            return None
        distances = (self.targets - self.points).norm(dim=1)
        return progress(
            DragStep(
                self.steps,
                self.options.num_steps,
                self.points.cpu().double().numpy(),
                distances.cpu().double().numpy(),
                self.face(),
            )
        )
