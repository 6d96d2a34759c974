"""What a blend made of one edit, in numbers; none of them is what the blends compute with."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from benchmarks.paste_cases import Case
from relatent.face.crop import cut_crop, resized_square
from relatent.face.flow import luminance
from relatent.face.identity import aligned_box
from relatent.face.landmarks import describe, predict_landmarks
from relatent.face.regions import JAW, LEFT_EYE, MOUTH, RIGHT_EYE, region_mask
from relatent.face.sampling import map_points
from relatent.face.warp import SIZE, Warp, resized
from stylegan.networks.generator import Generator

LARGEST_CROP = 512  # px; faces are compared at no more
GHOST_LEVELS = 10  # where the drawn face has changed by more than this, ghosts are looked for
GHOST_FLOW = 2  # px of the photo; so far the photo's pixels must have moved
LEAST_GHOSTS = 200  # pixels
REACH = 2  # side of the square in which changes outside the face are looked for, relative to the crop's
PARTS = {"mouth": MOUTH, "eyes": np.r_[LEFT_EYE, RIGHT_EYE], "jaw": JAW}


@dataclass(frozen=True)
class Wanted:
    """What an edit is to do, of the drawing alone.

    Attributes:
        points: landmarks [68, 2] of the edited drawing, in shares of the side.
        ghosts: bool [S, S] at the photo's resolution: where the drawn face has changed and moved on.
    """

    points: np.ndarray
    ghosts: np.ndarray


@dataclass(frozen=True)
class Look:
    """A face at its photo's resolution, with what is measured of it.

    Attributes:
        pixels: uint8 [S, S, 3].
        points: landmarks [68, 2], in shares of the side.
    """

    pixels: np.ndarray
    points: np.ndarray

    @property
    def fine(self) -> np.ndarray:
        """The finest octave, float32 [S, S]."""
        bright = luminance(self.pixels.astype(np.float32))
        return np.asarray(bright - cv2.GaussianBlur(bright, (0, 0), 0.8))


class Judge:
    """Compares results of one photo with it.

    Args:
        case: the photo.
        network: drew its face.
        before: [R, R, 3] from 0 to 255, the unedited drawing.
    """

    def __init__(self, case: Case, network: Generator, before: np.ndarray) -> None:
        self.case, self.network, self.before = case, network, before
        place = case.inversion.face_to_photo
        assert place is not None
        self.place = place
        own = network.resolution * float(np.hypot(*place[:2, 0]))
        self.side = int(min(LARGEST_CROP, round(own)))
        self.scale = own / network.resolution  # photo pixels a network's pixel
        self.photo = self.look(case.photo)
        self.drawn_before = self._points(np.rint(before).astype(np.uint8))
        self.descriptor = describe(self.photo.pixels, self.photo.points * self.side)
        inside = map_points(resized_square(network.resolution, self.side), case.landmarks)
        self.face = region_mask(["face"], inside, self.side) > 0.9
        around = _around(network.resolution, REACH, SIZE)
        self.wide = place @ around
        self.around = self._surroundings(case.photo)
        points = map_points(np.linalg.inv(around), case.landmarks)
        away = region_mask(["background"], points, SIZE) > 0.99
        self.away = away & ~_neck(points, SIZE) & self._inside_photo(self.wide)

    def look(self, whole: np.ndarray) -> Look:
        """A whole photo's face."""
        crop = cut_crop(whole, self.place, self.network.resolution, self.side)
        return Look(crop, self._points(crop))

    def wanted(self, drawn: np.ndarray, warp: Warp) -> Wanted:
        """Of an edited drawing, [R, R, 3] from 0 to 255, and its motion."""
        step = warp.flow * (self.side / SIZE)
        far = cv2.resize(np.hypot(step[..., 0], step[..., 1]), (self.side,) * 2) > GHOST_FLOW
        change = resized(np.abs(drawn - self.before).mean(axis=2), self.side) > GHOST_LEVELS
        return Wanted(self._points(np.rint(drawn).astype(np.uint8)), far & change & self.face)

    def landmarks(self, pasted: Look, wanted: Wanted) -> dict[str, float]:
        """How far landmarks lie from where the edit has moved them, in % of the distance of the eyes.

        ``place`` compares the pasted face with the drawn one; ``motion`` what moved in the one with what moved in the
        other, so that what the inversion did not hit is not counted.
        """
        eyes = [self.photo.points[part].mean(axis=0) for part in (LEFT_EYE, RIGHT_EYE)]
        unit = 100 / float(np.hypot(*(eyes[0] - eyes[1])))
        place = pasted.points - wanted.points
        motion = place - (self.photo.points - self.drawn_before)
        return {
            f"{kind}_{name}": unit * float(np.hypot(*values[part].T).mean())
            for kind, values in (("place", place), ("motion", motion))
            for name, part in PARTS.items()
        }

    def ghosts(self, pasted: Look, wanted: Wanted) -> float | None:
        """How much fine structure of the unmoved photo is left where it should have moved on, as a correlation."""
        if wanted.ghosts.sum() < LEAST_GHOSTS:
            return None
        fine = [self._structure(one.pixels)[wanted.ghosts] for one in (pasted, self.photo)]
        return float(np.corrcoef(*fine)[0, 1])

    def detail(self, pasted: Look) -> float:
        """Energy of the finest octave in the face, as a share of the photo's."""
        energy = [float(np.square(one.fine[self.face]).mean()) for one in (pasted, self.photo)]
        return energy[0] / max(energy[1], 1e-6)

    def identity(self, pasted: Look) -> float:
        """dlib's distance to the photo."""
        return float(np.linalg.norm(describe(pasted.pixels, pasted.points * self.side) - self.descriptor))

    def outside(self, pasted: np.ndarray) -> float:
        """Mean change, in levels, of what belongs neither to face and hair nor to the skin beside them.

        Looked at is a square of twice the crop's side: all of it beyond a head's reach and beside the neck.
        """
        if not self.away.any():
            return 0.0
        return float(np.abs(self._surroundings(pasted) - self.around).mean(axis=2)[self.away].mean())

    def _surroundings(self, whole: np.ndarray) -> np.ndarray:
        return cut_crop(whole, self.wide, SIZE, SIZE).astype(float)

    def _inside_photo(self, wide: np.ndarray) -> np.ndarray:
        y, x = np.mgrid[:SIZE, :SIZE]
        places = map_points(wide, np.stack([x.ravel(), y.ravel()], axis=1))
        height, width = self.case.photo.shape[:2]
        return np.asarray(((places >= 0) & (places <= (width - 1, height - 1))).all(axis=1).reshape(SIZE, SIZE))

    def _structure(self, pixels: np.ndarray) -> np.ndarray:
        """What is finer than the network's pixel."""
        bright = luminance(pixels.astype(np.float32))
        return np.asarray(bright - cv2.GaussianBlur(bright, (0, 0), max(0.8, self.scale / 2)))

    def _points(self, crop: np.ndarray) -> np.ndarray:
        found = predict_landmarks(crop, aligned_box(self.network.alignment, crop.shape[:2]))
        return np.asarray((found + 0.5) / len(crop))


def _around(size: int, reach: float, seen: int) -> np.ndarray:
    """From pixels of a square ``reach`` times the face's, ``seen`` pixels a side, to the face's pixels."""
    step = reach * size / seen
    offset = (size - 1) / 2 - step * (seen - 1) / 2
    return np.array([[step, 0, offset], [0, step, offset], [0, 0, 1]])


def _neck(points: np.ndarray, size: int) -> np.ndarray:
    """Between and below the corners of the jaw, bool [size, size]."""
    left, right, chin = points[3], points[13], points[8]
    down = chin - (left + right) / 2
    polygon = np.array([left, right, right + 5 * down, left + 5 * down]).round().astype(np.int32)
    return cv2.fillConvexPoly(np.zeros((size, size), np.uint8), polygon, 1) > 0
