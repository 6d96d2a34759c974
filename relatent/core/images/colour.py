"""Colour profiles: converts a photo to sRGB, and changes made in sRGB back to the photo's own colours.

Generators draw sRGB. A photo may have another colour space, be grey or transparent, or have 16 bits per channel. Only
changes are converted back, so that unchanged pixels keep their exact values.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product

import numpy as np
from PIL import Image, ImageCms

SAME = 2  # of 255; profiles that differ by no more than this from sRGB count as sRGB
GREY = 4  # of 255; pictures whose channels differ by no more than this count as grey
NODE_STEP = 5  # of 255, between two colours of the inverse table; divides 255
NODES = 255 // NODE_STEP + 1
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601, as Pillow makes grey of RGB
STRIP = 2**18  # colours converted at a time


def profile_space(profile: bytes) -> bytes:
    """The four letters at byte 16 of an ICC header (128 bytes); empty if there is no such header."""
    return profile[16:20] if len(profile) >= 128 and profile[36:40] == b"acsp" else b""


@dataclass(frozen=True)
class Conversion:
    """Conversion between a profile's colours and sRGB, relative colorimetric with black point compensation.

    Attributes:
        profile: of RGB or grey.
        mode: Pillow's mode of its pixels, "RGB" or "L".
    """

    profile: ImageCms.ImageCmsProfile
    mode: str

    @cached_property
    def forward(self) -> ImageCms.ImageCmsTransform:
        """From the profile's colours to sRGB."""
        return _transform(self.profile, _srgb(), self.mode, "RGB")

    @cached_property
    def grey_tables(self) -> list[list[int]]:
        """What red, green and blue are in sRGB, for each of the 256 levels of grey."""
        levels = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
        colours = np.asarray(ImageCms.applyTransform(levels, self.forward))
        return [colours[0, :, channel].tolist() for channel in range(3)]

    def to_srgb(self, picture: Image.Image) -> Image.Image:
        """A picture of the profile's mode as RGB."""
        if self.mode == "L":
            return Image.merge("RGB", [picture.point(table) for table in self.grey_tables])
        return ImageCms.applyTransform(picture, self.forward) or picture

    @cached_property
    def table(self) -> np.ndarray:
        """The profile's colours at evenly spaced sRGB colours, float32 [NODES, NODES, NODES, C]."""
        colours = _lattice(NODES)
        picture = Image.fromarray(colours.reshape(NODES, -1, 3))
        back = ImageCms.applyTransform(picture, _transform(_srgb(), self.profile, "RGB", self.mode))
        return np.asarray(back, np.float32).reshape(NODES, NODES, NODES, -1)

    def from_srgb(self, colours: np.ndarray) -> np.ndarray:
        """sRGB colours [N, 3] from 0 to 255 as float32 [N, C] of the profile, by trilinear interpolation.

        LittleCMS returns integer levels here. Interpolation between the colours of the table smooths the rounding, so
        that small changes of a colour stay small.
        """
        x = colours.astype(np.float32) / NODE_STEP
        low = np.minimum(x.astype(np.intp), NODES - 2)
        share = x - low
        result = np.zeros((len(colours), self.table.shape[-1]), np.float32)
        for corner in product((0, 1), repeat=3):
            weight = np.where(np.array(corner, bool), share, 1 - share).prod(axis=1)
            r, g, b = (low + corner).T
            result += weight[:, None] * self.table[r, g, b]
        return result


@lru_cache(maxsize=8)  # a folder's photos mostly come from one camera
def conversion(profile: bytes, mode: str) -> Conversion | None:
    """The conversion from a profile's colours to sRGB; None if they are sRGB already, or the profile is unusable.

    Args:
        profile: ICC.
        mode: Pillow's mode of the pixels: "RGB" or "L".
    """
    if profile_space(profile) != {"RGB": b"RGB ", "L": b"GRAY"}[mode]:
        return None
    try:
        made = Conversion(ImageCms.ImageCmsProfile(io.BytesIO(profile)), mode)
        if mode == "L":
            levels = np.arange(256, dtype=np.uint8)[None]
            same, seen = np.repeat(levels[..., None], 3, axis=2), Image.fromarray(levels)
        else:
            same = _lattice(16)[None]
            seen = Image.fromarray(same)
        difference = np.abs(np.asarray(made.to_srgb(seen), np.int16) - same)
        return None if difference.max() <= SAME or made.table.size == 0 else made
    except (ImageCms.PyCMSError, OSError, ImportError, ValueError):  # damaged, or a Pillow built without LittleCMS
        return None


def with_changes(levels: np.ndarray, profile: bytes | None, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Apply changes that were made to the sRGB version of a photo to its own pixels.

    Changes of a grey photo are grey, transparency is kept, and unchanged pixels keep their exact values.

    Args:
        levels: uint8 or uint16 [H, W, C]: grey, grey and alpha, RGB, or RGB and alpha.
        profile: ICC of its colours; None for sRGB.
        before: uint8 or float32 [H, W, 3] from 0 to 255, its form in sRGB, transparency on white.
        after: the same, changed.

    Returns:
        A new array like ``levels``.
    """
    result = levels.copy()
    rows, columns = np.nonzero((before != after).any(axis=2))
    colours = levels.shape[2] - (levels.shape[2] + 1) % 2  # channels without alpha
    full = np.iinfo(levels.dtype).max
    convert = conversion(profile, "L" if colours == 1 else "RGB") if profile else None
    grey = colours == 3 and is_grey(levels[..., :3])
    for start in range(0, len(rows), STRIP):
        place = rows[start : start + STRIP], columns[start : start + STRIP]
        old, new = before[place], after[place]  # [N, 3]
        if convert is not None:
            change = convert.from_srgb(new) - convert.from_srgb(old)
        else:
            change = new.astype(np.float32) - old.astype(np.float32)
        if grey or change.shape[1] > colours:
            change = (change @ LUMA)[:, None]
        own = levels[place].astype(np.float32)
        if levels.shape[2] > colours:
            opacity = own[:, colours:] / full
            change = np.divide(change, opacity, out=np.zeros_like(change), where=opacity > 0)
        own[:, :colours] = np.rint(own[:, :colours] + change * (full / 255)).clip(0, full)
        result[place] = own.astype(levels.dtype)
    return result


def is_grey(pixels: np.ndarray) -> bool:
    """Whether a picture in RGB, uint8 or uint16 [H, W, 3], is grey within the errors of JPEG compression."""
    most = GREY * (np.iinfo(pixels.dtype).max // 255)
    for seen in (pixels[::16, ::16], pixels):  # most photos are known by a few of their pixels
        for top in range(0, len(seen), 256):
            strip = seen[top : top + 256].astype(np.int32)
            if (strip.max(axis=2) - strip.min(axis=2)).max(initial=0) > most:
                return False
    return True


def _lattice(nodes: int) -> np.ndarray:
    """Evenly spaced colours, uint8 [nodes ** 3, 3]."""
    steps = np.rint(np.linspace(0, 255, nodes)).astype(np.uint8)
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _transform(
    source: ImageCms.ImageCmsProfile, target: ImageCms.ImageCmsProfile, source_mode: str, target_mode: str
) -> ImageCms.ImageCmsTransform:
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    if "L" in (source_mode, target_mode):
        flags |= ImageCms.Flags.NOOPTIMIZE  # LittleCMS's short cut is ten levels off in the shadows, and no need here
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    return ImageCms.buildTransform(source, target, source_mode, target_mode, intent, flags)
