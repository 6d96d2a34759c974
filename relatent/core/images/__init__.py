"""Reads photos and converts pixels. All pixel conventions are implemented here.

Conventions everywhere in Relatent:
    photo   uint8 [H, W, 3], RGB, 0..255, EXIF orientation applied
    image   float32 [N, 3, H, W], RGB, -1..1, the generator's output; 0 maps to -1 and 255 to 1
"""

from relatent.core.images.pixels import encode_png, from_uint8, grid, square, to_levels, to_pixels, to_tensor
from relatent.core.images.reading import FORMATS, MAX_PIXELS, MIN_SIDE, SUFFIXES, Photo, photo_of, read_photo

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "MIN_SIDE",
    "SUFFIXES",
    "Photo",
    "encode_png",
    "from_uint8",
    "grid",
    "photo_of",
    "read_photo",
    "square",
    "to_levels",
    "to_pixels",
    "to_tensor",
]
