"""Adobe RGB (1998) of cameras that name it in EXIF alone, as the file format DCF has it, and embed no profile."""

from __future__ import annotations

import struct
from functools import lru_cache

from PIL import Image
from PIL.ExifTags import IFD

INTEROPERABILITY_INDEX, COLOUR_SPACE = 1, 0xA001  # EXIF's tags
OPTIONAL = "R03"  # the index of DCF's optional colour space, which is Adobe RGB
ADOBE = 2  # the colour space's number before DCF 2.0, which some cameras still write

# Of the specification of Adobe RGB (1998), adapted to the D50 of profiles: X, Y and Z.
WHITE = (0.9642, 1.0, 0.8249)
PRIMARIES = {
    b"rXYZ": (0.60974, 0.31111, 0.01947),
    b"gXYZ": (0.20528, 0.62567, 0.06087),
    b"bXYZ": (0.14919, 0.06322, 0.74457),
}
GAMMA = 563 / 256
NAME = b"compatible with Adobe RGB (1998)"


def says_adobe_rgb(picture: Image.Image) -> bool:
    """Whether the EXIF data of a picture name Adobe RGB as its colour space; damaged data do not."""
    try:
        exif = picture.getexif()
        known = exif.get_ifd(IFD.Exif)
        space = known.get(COLOUR_SPACE)
        index = exif.get_ifd(IFD.Interop).get(INTEROPERABILITY_INDEX, "") if IFD.Interop in known else ""
    except MemoryError:
        raise
    except Exception:  # as in relatent.core.images.decoding.turn_upright
        return False
    text = index.decode("ascii", "replace") if isinstance(index, bytes) else str(index)
    return text.rstrip("\0 ") == OPTIONAL or space == ADOBE


@lru_cache(maxsize=1)
def adobe_rgb_profile() -> bytes:
    """An ICC profile (version 2) of the colour space."""
    text = struct.pack(">I", len(NAME) + 1) + NAME + b"\0"
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(GAMMA * 256))
    tags = {
        b"desc": b"desc\0\0\0\0" + text + bytes(78),  # no Unicode and no Macintosh text
        b"cprt": b"text\0\0\0\0No copyright\0",
        b"wtpt": _xyz(WHITE),
        **{tag: _xyz(values) for tag, values in PRIMARIES.items()},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    place, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for tag, data in tags.items():
        table += struct.pack(">4sII", tag, place + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    whole = place + len(body)
    header = struct.pack(">I4sI4s4s4s12x4s", whole, bytes(4), 0x02100000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    header = header.ljust(68, b"\0") + _xyz(WHITE)[8:]
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">iii", *(round(value * 65536) for value in values))
