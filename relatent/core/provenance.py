"""Provenance metadata of written pictures: that a network was used, which one, and which edits.

IPTC's DigitalSourceType is written to an XMP packet, and a software tag to XMP and EXIF. PNG, JPEG, WebP and AVIF
support both. The photo's own metadata are kept.
"""

from __future__ import annotations

import copy
import importlib.metadata
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.ExifTags import Base
from PIL.PngImagePlugin import PngInfo

from relatent.core.errors import OutputError, UsageError
from relatent.core.files import atomic_file
from relatent.core.images import Photo
from relatent.core.images.colour import conversion
from relatent.core.images.decoding import IPTC_RESOURCE, XMP_HEAD
from relatent.core.images.deep import encode_deep_png
from relatent.core.images.xmp import xmp_packet
from relatent.core.wording import printable

# https://cv.iptc.org/newscodes/digitalsourcetype: a composite that includes elements made by a trained model
COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF")
LONGEST_SEGMENT = 65533  # bytes of content in a JPEG segment
QUALITY = 95  # of JPEG, WebP and AVIF unless the caller says otherwise


def software_tag(network: str, edits: Mapping[str, float] | None = None) -> str:
    """One line naming the program, the network and every edit."""
    try:
        version = importlib.metadata.version("relatent")
    except importlib.metadata.PackageNotFoundError:
        version = "(not installed)"
    changes = ", ".join(f"{name} {strength:+.3g}" for name, strength in (edits or {}).items())
    return printable(f"Relatent {version}; network {network}; edits {changes or 'none'}")


class MarkedImage(Image.Image):
    """A Pillow image whose ``save`` writes provenance metadata. So do copies of it; crops are ordinary images.

    Attributes:
        software: the software tag.
        deep: uint16 [H, W, C], written to PNG files, for pictures of 16 bits per channel; else None.
        photo: the photo whose EXIF, XMP and colour profile are kept; None without one.
    """

    def __init__(self, pixels: np.ndarray, software: str, photo: Photo | None = None) -> None:
        """pixels are uint8 or uint16 [H, W, C]: grey, grey and alpha, RGB, or RGB and alpha, in the photo's colours."""
        super().__init__()
        self.deep = pixels if pixels.dtype == np.uint16 else None
        eight_bits = pixels if self.deep is None else np.rint(pixels / np.float32(257)).astype(np.uint8)
        eight_bits = eight_bits[..., 0] if eight_bits.shape[2:] == (1,) else eight_bits
        vars(self).update(vars(Image.fromarray(eight_bits)))  # Pillow's constructors cannot create a subclass
        self.software, self.photo = software, photo
        if photo is not None and photo.icc_profile:
            self.info["icc_profile"] = photo.icc_profile

    def __getstate__(self) -> list[Any]:
        return [super().__getstate__(), self.software, self.photo, self.deep]

    def __setstate__(self, state: list[Any]) -> None:
        pixels, self.software, self.photo, self.deep = state
        super().__setstate__(pixels)

    def copy(self) -> MarkedImage:
        """An independent picture with the same provenance."""
        return copy.deepcopy(self)

    __copy__ = copy

    def save(self, fp: Any, format: str | None = None, *, metadata: bool = True, **params: Any) -> None:
        """Save as Pillow does; a path is written atomically.

        Args:
            fp: a path, or an open binary file, which needs ``format``.
            format: Pillow's name of the format; None for that of the path's suffix.
            metadata: write provenance and the photo's metadata; else only pixels and colour profile.
            **params: options of the format, for example ``quality``.

        Raises:
            UsageError: ``metadata`` with a format that does not support it.
            OutputError: the file cannot be written.
        """
        path = Path(str(getattr(fp, "name", ""))) if hasattr(fp, "write") else Path(fp)
        kind = (format or Image.registered_extensions().get(path.suffix.lower(), path.name)).upper()
        kind = "JPEG" if kind == "JPG" else kind
        if hasattr(fp, "write"):
            self._write(fp, kind, metadata, params)
            return
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            self._write(file, kind, metadata, params)

    def encoded(self, format: str = "PNG", *, metadata: bool = True, **params: Any) -> bytes:
        """The bytes of a file; ``params`` as for :meth:`save`."""
        buffer = io.BytesIO()
        self.save(buffer, format, metadata=metadata, **params)
        return buffer.getvalue()

    def _write(self, file: BinaryIO, kind: str, metadata: bool, params: dict[str, Any]) -> None:
        if metadata and kind not in FORMATS:
            raise UsageError(
                f"{kind!r} cannot say that a network took part; expected a .png, .jpg, .webp or .avif file. "
                "Choose one of these, or ask for no metadata."
            )
        options: dict[str, Any] = {} if kind == "PNG" else {"quality": QUALITY}
        if kind == "JPEG":
            options["subsampling"] = 0  # chroma subsampling would lose detail of the photo
        picture: Image.Image = self
        profile = self.photo.icc_profile if self.photo is not None else None
        if kind in ("WEBP", "AVIF") and self.mode in ("L", "LA"):
            picture, profile = _in_srgb(self, profile), None  # they have no grey, so that its profile would not fit
        if kind == "JPEG" and picture.mode.endswith("A"):
            picture = _on_white(picture)
        if profile:
            options["icc_profile"] = profile
        options |= self._mark(kind) if metadata else {}
        try:
            if kind == "PNG" and self.deep is not None:
                described = io.BytesIO()
                Image.new("L" if self.deep.shape[2] < 3 else "RGB", (1, 1)).save(described, kind, **options)
                file.write(encode_deep_png(self.deep, described.getvalue()))
                return
            Image.Image.save(picture, file, kind, **{**options, **params})
        except (KeyError, ValueError, OSError) as error:
            if getattr(error, "errno", None):  # an error of the disk, not of the format
                raise
            raise OutputError(f"the picture cannot be written as {kind} ({error}). Choose another format.") from error

    def _mark(self, kind: str) -> dict[str, Any]:
        """The options with which Pillow writes the metadata to a file of the format ``kind``."""
        exif = _exif(self.software, self.photo.exif if self.photo else None)
        packet = xmp_packet(self.software, COMPOSITE, self.photo.xmp if self.photo else None)
        if kind == "PNG":
            chunks = PngInfo()
            chunks.add_itxt("XML:com.adobe.xmp", packet.decode())
            chunks.add_text("Software", self.software)
            return {"exif": exif, "pnginfo": chunks}
        if kind != "JPEG":
            return {"exif": exif, "xmp": packet}
        if len(exif) > LONGEST_SEGMENT:
            exif = _exif(self.software, None)
        if len(XMP_HEAD) + len(packet) > LONGEST_SEGMENT:
            packet = xmp_packet(self.software, COMPOSITE)
        options: dict[str, Any] = {"exif": exif, "xmp": packet}
        if self.photo is not None and self.photo.iptc:
            record = self.photo.iptc
            resource = b"8BIM" + IPTC_RESOURCE.to_bytes(2, "big") + b"\0\0" + len(record).to_bytes(4, "big") + record
            options["extra"] = _segment(0xED, b"Photoshop 3.0\0" + resource + b"\0" * (len(record) % 2))
        return options


def _in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """L or LA as RGB or RGBA."""
    convert = conversion(profile, "L") if profile else None
    opacity = picture.getchannel("A") if picture.mode == "LA" else None
    grey = picture.convert("L")
    colours = grey.convert("RGB") if convert is None else convert.to_srgb(grey)
    if opacity is not None:
        colours.putalpha(opacity)
    return colours


def _on_white(picture: Image.Image) -> Image.Image:
    """LA or RGBA without transparency."""
    colours = picture.convert(picture.mode.removesuffix("A"))
    white = Image.new(colours.mode, colours.size, "white")
    return Image.composite(colours, white, picture.getchannel("A"))


def _segment(marker: int, content: bytes) -> bytes:
    """A JPEG segment; empty if the content is too long for one."""
    if len(content) > LONGEST_SEGMENT:
        return b""
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def _exif(software: str, kept: bytes | None) -> bytes:
    """An EXIF block with the software tag and the tags of the photo's block ``kept``."""
    exif = Image.Exif()
    if kept:
        exif.load(kept)
    exif[Base.Software] = software
    return exif.tobytes()
