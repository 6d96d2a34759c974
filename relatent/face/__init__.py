"""Face detection, landmarks, alignment, identity distance and pasting; independent of generators.

dlib is imported at the first use.
"""

from relatent.face.align import AlignedFace, align_face, centre_square, face_to_photo_matrix
from relatent.face.choice import choose_faces
from relatent.face.identity import identity_distance
from relatent.face.landmarks import Face, describe, find_faces

__all__ = [
    "AlignedFace",
    "Face",
    "align_face",
    "centre_square",
    "choose_faces",
    "describe",
    "face_to_photo_matrix",
    "find_faces",
    "identity_distance",
]
