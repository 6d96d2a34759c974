"""Face alignment: from landmarks to the upright square crop of a network, and the matrix back to the photo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from relatent.core.alignment import Alignment
from relatent.core.errors import ShapeError
from relatent.core.images import square
from relatent.face.padding import soften_outside
from relatent.face.sampling import check_photo, map_points, sample_square, square_matrix

LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)  # dlib's numbering; left and right in the picture
LEFT_MOUTH_CORNER, RIGHT_MOUTH_CORNER = 48, 54


@dataclass(frozen=True)
class AlignedFace:
    """An aligned face and its position in the photo.

    Convention:
        ``face_to_photo`` maps columns (x, y, 1); (0, 0) is the centre of the top-left pixel of both pictures.

    Attributes:
        image: uint8 [R, R, 3].
        face_to_photo: float64 [3, 3]; one affine matrix for scaling, rotation, cropping and padding.
        landmarks: float64 [68, 2] in pixels of ``image``; None if they were not detected.
    """

    image: np.ndarray
    face_to_photo: np.ndarray
    landmarks: np.ndarray | None = None

    @property
    def photo_to_face(self) -> np.ndarray:
        """float64 [3, 3], the inverse of ``face_to_photo``."""
        return np.linalg.inv(self.face_to_photo)


def face_to_photo_matrix(landmarks: np.ndarray, alignment: Alignment, size: int) -> np.ndarray:
    """The matrix from pixels of the aligned face to pixels of the photo, float64 [3, 3].

    The FFHQ recipe (Karras et al. 2019, appendix A): the x axis of the face depends on the line between the eyes and on
    the line from eyes to mouth, so that a turned head does not tilt the crop. The scale and the shift along the face's
    y axis are then those of the network.

    Convention:
        landmarks are (x, y), (0, 0) the centre of the top-left photo pixel, likewise for the face. The outer edge of
        the crop lies half a pixel outside the centres of its outermost pixels.

    Args:
        landmarks: [68, 2] in photo pixels, dlib's order.
        alignment: the network's; ``Alignment()`` is FFHQ.
        size: side of the face in pixels.

    Raises:
        ShapeError: not [68, 2], not finite, or degenerate.
    """
    centre, half = ffhq_square(checked_landmarks(landmarks))
    down = np.array([-half[1], half[0]])  # the face's y axis, as long as ``half``
    # ``shift`` is relative to the side of the FFHQ crop, and ``down`` has half that length.
    return square_matrix(centre + 2 * alignment.shift * down, half * alignment.scale, size)


def align_face(pixels: np.ndarray, landmarks: np.ndarray, alignment: Alignment, size: int) -> AlignedFace:
    """Crop the face from a photo.

    Reduces by area averaging, and enlarges bicubically. Outside the photo, the crop is padded by reflection, which is
    blurred and fades to the median colour of the border. Memory depends on the size of the crop, not of the photo.

    Args:
        pixels: uint8 [H, W, 3], RGB.
        landmarks: [68, 2] in photo pixels.
        alignment: the network's.
        size: side of the face in pixels.

    Raises:
        ShapeError: pixels or landmarks of another type or shape.
    """
    check_photo(pixels)
    matrix = face_to_photo_matrix(landmarks, alignment, size)
    image = soften_outside(sample_square(pixels, matrix, size), matrix, pixels.shape[:2])
    return AlignedFace(image, matrix, map_points(np.linalg.inv(matrix), checked_landmarks(landmarks)))


def centre_square(pixels: np.ndarray, size: int) -> AlignedFace:
    """The photo's centre square in place of an aligned face, for pictures that are aligned already.

    Args:
        pixels: uint8 [H, W, 3], RGB.
        size: side of the result in pixels.
    """
    check_photo(pixels)
    height, width = pixels.shape[:2]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2  # as in relatent.core.images.square
    centre = np.array([left, top]) + (side - 1) / 2
    matrix = square_matrix(centre, np.array([side / 2, 0.0]), size)
    return AlignedFace(image=square(pixels, size), face_to_photo=matrix)


def ffhq_square(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The centre of the FFHQ crop and half its x axis, both (x, y) in photo pixels.

    Args:
        landmarks: float64 [68, 2].

    Raises:
        ShapeError: eyes and mouth coincide.
    """
    left_eye, right_eye = landmarks[LEFT_EYE].mean(axis=0), landmarks[RIGHT_EYE].mean(axis=0)
    mouth = (landmarks[LEFT_MOUTH_CORNER] + landmarks[RIGHT_MOUTH_CORNER]) / 2
    eyes = (left_eye + right_eye) / 2
    eye_to_eye, eye_to_mouth = right_eye - left_eye, mouth - eyes
    x_axis = eye_to_eye - np.array([-eye_to_mouth[1], eye_to_mouth[0]])
    length = np.hypot(*x_axis)
    if length == 0:
        raise ShapeError("the landmarks give the face no direction; expected eyes and mouth in different places.")
    half_side = max(2.0 * np.hypot(*eye_to_eye), 1.8 * np.hypot(*eye_to_mouth))
    return eyes + 0.1 * eye_to_mouth, x_axis / length * half_side


def checked_landmarks(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks as float64 [68, 2].

    Raises:
        ShapeError: another shape, or a value that is not finite.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise ShapeError(f"landmarks have shape {list(points.shape)}; expected 68 finite points (x, y), [68, 2].")
    return points
