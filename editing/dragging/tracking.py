"""Tracks handles by the features around them, and differentiates where they are.

A handle is where the features of a patch are nearest to those of its first patch. "Drag Your GAN" (Pan et al. 2023,
sec. 3.2.2) compares one feature vector at whole pixels. Here the whole patch is compared, and the best place is refined
to a fraction of a pixel by Gauss-Newton steps on the squared difference (Lucas and Kanade 1981):

    p <- p + (G^T G)^-1 G^T (f - F(p)),

where f are the first patch's features, F(p) those of the patch around p, and G the derivative of F(p) in p. At the best
place, the implicit function theorem gives the derivative of the place in the latents, with the same matrix:

    dp/dws = -(G^T G)^-1 G^T dF/dws.

The gradient of the paper's motion supervision (eq. 1), with squared differences and for a small shift d, is
-d^T G^T dF/dws. It is the same direction, but for the 2 x 2 matrix, which turns features into pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from editing.dragging.features import FeatureReader, square_offsets

REFINEMENTS = 4  # Gauss-Newton steps of a place
STIFFNESS = 1e-2  # added to G^T G, relative to its trace: where features hardly change, a place hardly moves
SPRING = 1.0  # cost of a place REACH from where it is expected, relative to the least error of the features there: what
# looks different from the first patch everywhere would slide along an edge
EVEN = 0.02  # the same, relative to their mean error: of places that look alike, the expected one
RENEWED = 0.5  # share of the latest patch in what is sought; the rest is the first one
LONGEST = 1.0  # of a refinement, in features


class Tracker:
    """Follows handles from picture to picture.

    Args:
        reader: reads the features.
        features: of the first picture, [1, C, h, w].
        points: the handles there, [N, 2].
        radius: of the patches, in pixels of the face.
        reach: how far a handle may move between two pictures, in pixels of the face.
    """

    def __init__(self, reader: FeatureReader, features: Tensor, points: Tensor, radius: float, reach: float) -> None:
        self.reader, self.reach = reader, reach
        self.offsets = square_offsets(radius, reader.step, points)  # [K, 2]
        self.moves = square_offsets(reach, reader.step / 2, points)  # [M, 2]
        self.scale = features.std(dim=(0, 2, 3)).clamp(min=1e-6).reciprocal()  # [C]: all channels count alike
        self.first = self.patches(features, points)  # [N, K, C]
        self.sought = self.first

    def patches(self, features: Tensor, points: Tensor) -> Tensor:
        """The features around points [..., 2]: [..., K, C]."""
        return self.reader.sample(features, points[..., None, :] + self.offsets) * self.scale

    @torch.no_grad()
    def find(self, features: Tensor, near: Tensor) -> Tensor:
        """Where the handles are, [N, 2], searched around ``near``."""
        candidates = near[:, None] + self.moves  # [N, M, 2]
        pairs = zip(candidates, self.sought, strict=True)
        errors = torch.stack(  # point by point: all patches of all candidates together would not fit into memory
            [(self.patches(features, places) - sought).square().mean(dim=(1, 2)) for places, sought in pairs]
        )
        pull = (SPRING * errors.amin(dim=1) + EVEN * errors.mean(dim=1)) / self.reach**2  # [N]
        costs = errors + pull[:, None] * self.moves.square().sum(dim=1)
        best = costs.argmin(dim=1)
        every = torch.arange(len(near), device=near.device)
        points = start = candidates[every, best]
        for _ in range(REFINEMENTS):
            points = points + self._correction(features, points, near, pull).clamp(-self.longest, self.longest)
        refined = (self.patches(features, points) - self.sought).square().mean(dim=(1, 2))
        refined = refined + pull * (points - near).square().sum(dim=1)
        return torch.where((refined <= costs[every, best])[:, None], points, start)

    @torch.no_grad()
    def renew(self, features: Tensor, points: Tensor) -> None:
        """Let the patches follow the picture: half of what is sought is how a handle looks at its place now.

        An eye that opens soon looks nothing like its first patch; without that patch, places would drift.
        """
        self.sought = torch.lerp(self.first, self.patches(features, points), RENEWED)

    @property
    def longest(self) -> float:
        return LONGEST * self.reader.step

    def places(self, features: Tensor, points: Tensor) -> Tensor:
        """The handles' places as a differentiable function of the features; equal to ``points`` where those are best.

        Args:
            features: [1, C, h, w].
            points: [N, 2], from :meth:`find`.
        """
        return points + self._correction(features, points)

    def _correction(
        self, features: Tensor, points: Tensor, near: Tensor | None = None, pull: Tensor | None = None
    ) -> Tensor:
        """(G^T G)^-1 G^T (f - F(p)), [N, 2]; differentiable in F. With a ``pull`` [N] towards ``near`` [N, 2]."""
        slopes = self._slopes(features.detach(), points)  # [N, 2, K * C]
        normal = slopes @ slopes.transpose(1, 2)  # [N, 2, 2]
        trace = normal.diagonal(dim1=1, dim2=2).sum(dim=1)
        stiffness = STIFFNESS * trace + 1e-9
        difference = (self.sought - self.patches(features, points)).flatten(1)  # [N, K * C]
        right = (slopes @ difference[:, :, None])[:, :, 0]
        if near is not None and pull is not None:
            pull = pull * slopes.shape[2]  # of a sum, not of a mean
            stiffness = stiffness + pull
            right = right + pull[:, None] * (near - points)
        normal = normal + torch.diag_embed(stiffness[:, None].expand(-1, 2))
        return torch.linalg.solve(normal, right)

    def _slopes(self, features: Tensor, points: Tensor) -> Tensor:
        """The derivative of the patches in x and y, [N, 2, K * C]."""
        h = self.reader.step / 2
        steps = torch.tensor([[h, 0.0], [0.0, h]], device=points.device, dtype=points.dtype)
        ahead, behind = (self.patches(features, points[:, None] + sign * steps) for sign in (1, -1))  # [N, 2, K, C]
        return ((ahead - behind) / (2 * h)).flatten(2)
