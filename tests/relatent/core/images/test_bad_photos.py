"""Files that are no photos, or no longer: every one is refused in one line that names it and says what to do."""

from __future__ import annotations

import gc
import io
import os
import random
import struct
import subprocess
import time
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import EpsImagePlugin, Image, ImageFile

from relatent.core.errors import UnreadablePhotoError
from relatent.core.images import MIN_SIDE, read_photo

pillow_heif.register_heif_opener()  # these tests write HEIC themselves

EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 100 100
%%EndComments
(/tmp/owned) (w) file closefile
showpage
%%EOF
"""
PDF = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n"
SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><rect/></svg>\n'
REMEDIES = ("Check the path", "Export or download it again", "export it as JPEG or PNG", "Shrink it first")
REMEDIES += ("Use a larger one", "Name one of the files", "Change its permissions")


def refusal(source: str | Path | bytes, name: str | None = None) -> str:
    """The message of the error; checks what every such message promises."""
    with pytest.raises(UnreadablePhotoError) as caught:
        read_photo(source, name)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(name or (str(source) if not isinstance(source, bytes) else "the picture"))
    assert any(remedy in message for remedy in REMEDIES), message
    assert len(message) < 300 + len(name or str(source)[:500])
    return message


def noise(height: int = 40, width: int = 56, mode: str = "RGB") -> Image.Image:
    shape = (height, width) if mode == "L" else (height, width, 3)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8))


def saved(picture: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=form, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, packed_rows: bytes) -> bytes:
    """A PNG of 1 bit per pixel; ``packed_rows`` is the finished body of its IDAT chunk."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", packed_rows) + chunk(b"IEND", b"")


# --- paths -----------------------------------------------------------------------------------------------------------


def test_a_missing_file(tmp_path):
    assert "does not exist" in refusal(tmp_path / "nobody.jpg")
    assert "does not exist" in refusal(str(tmp_path / "no" / "body.jpg"))


def test_a_link_to_nothing(tmp_path):
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nobody.jpg")
    assert "does not exist" in refusal(tmp_path / "link.jpg")


def test_a_folder(tmp_path):
    assert "is a folder; expected a picture file" in refusal(tmp_path)


def test_an_empty_file(tmp_path):
    (tmp_path / "empty.jpg").touch()
    assert "is empty (0 bytes)" in refusal(tmp_path / "empty.jpg")
    assert "is empty (0 bytes)" in refusal(b"", "upload")


def test_a_name_that_is_too_long(tmp_path):
    assert "cannot be opened: File name too long" in refusal(tmp_path / ("n" * 300 + ".jpg"))


def test_a_path_through_a_file(tmp_path):
    (tmp_path / "me.jpg").touch()
    assert "does not exist" in refusal(tmp_path / "me.jpg" / "you.jpg")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_of_somebody_else(tmp_path):
    path = tmp_path / "private.png"
    path.write_bytes(saved(noise(), "PNG"))
    path.chmod(0)
    assert "may not be read by this user" in refusal(path)


def test_a_refusal_of_the_system(tmp_path, monkeypatch):
    path = tmp_path / "private.png"
    path.write_bytes(saved(noise(), "PNG"))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Image, "open", refuse)
    assert "may not be read by this user. Change its permissions." in refusal(path)


def test_a_line_break_in_the_name_stays_out_of_the_message(tmp_path):
    with pytest.raises(UnreadablePhotoError) as caught:
        read_photo(tmp_path / "two\nlines.jpg")
    assert str(caught.value) == f"{tmp_path}/two lines.jpg does not exist. Check the path."


# --- contents that are no picture ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"Dear diary,\n", b"\0", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", SVG, PDF, random.Random(0).randbytes(5000)],
    ids=["text", "one byte", "jpeg start", "png start", "svg", "pdf", "random"],
)
def test_no_picture(content, tmp_path):
    path = tmp_path / "me.jpg"
    path.write_bytes(content)
    refusal(path)
    refusal(content, "upload")


def test_postscript_starts_no_program(tmp_path, monkeypatch):
    with Image.open(io.BytesIO(EPS)) as opened:
        assert opened.format == "EPS"  # Pillow itself would take it, and run Ghostscript
    marker, ghostscript = tmp_path / "started", tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {marker}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    for name in ("me.eps", "me.jpg", "me.png"):
        (tmp_path / name).write_bytes(EPS)
        assert "is not a picture that can be read; expected JPEG, PNG" in refusal(tmp_path / name)
    assert not marker.exists()


def test_the_messages_of_decoders_are_made_one_short_line(monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise ValueError("first\n  second " + "x" * 500)

    monkeypatch.setattr(Image, "open", fail)
    assert "cut short: first second xxx" in refusal(saved(noise(), "PNG"))


def test_too_little_memory_is_named(monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image, "open", fail)
    assert "does not fit into memory" in refusal(saved(noise(), "PNG"))


def test_an_interrupt_is_not_swallowed(monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(KeyboardInterrupt):
        read_photo(saved(noise(), "PNG"))


# --- damaged pictures ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_pictures_cut_short(form, share, tmp_path):
    if form not in Image.SAVE:
        pytest.skip(f"this Pillow cannot write {form}")
    data = saved(noise(), form)
    path = tmp_path / f"cut.{form.lower()}"
    path.write_bytes(data[: int(len(data) * share)])
    message = refusal(path)
    assert (
        "damaged or cut short" in message or share < 0.5 or form in ("AVIF", "HEIF")
    )  # AVIF keeps its index at the end


def test_a_png_with_a_wrong_checksum():
    data = bytearray(saved(noise(), "PNG"))
    data[29] ^= 1  # of the header
    refusal(bytes(data))


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (MIN_SIDE - 1, 100), (100, MIN_SIDE - 1)])
def test_too_small(size):
    message = refusal(saved(Image.new("RGB", size), "PNG"))
    assert f"has only {size[0]} x {size[1]} pixels; expected at least {MIN_SIDE} x {MIN_SIDE}" in message


def test_just_large_enough():
    assert read_photo(saved(Image.new("RGB", (MIN_SIDE, MIN_SIDE)), "PNG")).pixels.shape == (MIN_SIDE, MIN_SIDE, 3)


@pytest.mark.parametrize("size", [(0, 0), (0, 64), (64, 0)])
@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP", "PPM"])
def test_sides_of_zero(size, form):
    width, height = size
    data = {
        "PNG": png(width, height, zlib.compress(b"\0")),
        "GIF": b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0;",
        "BMP": b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, width, height, 1, 24, *[0] * 6),
        "PPM": f"P6 {width} {height} 255\n".encode(),
    }[form]
    refusal(data)


@pytest.mark.parametrize("size", [(40_000, 40_000), (14_000, 12_500), (2**31 - 1, 2**31 - 1), (2**31 - 1, 8)])
def test_a_tiny_file_that_claims_a_huge_picture(size, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("it was decoded"))
    message = refusal(png(*size, zlib.compress(b"\0")))
    assert "claims too many pixels" in message
    assert "at most 170 megapixels are read" in message


def test_a_huge_picture_that_is_really_there(tmp_path):
    packer = zlib.compressobj(level=1)
    rows = b"".join(packer.compress(bytes(100 * 5001)) for _ in range(400)) + packer.flush()  # 40,000 rows of 1 bit
    path = tmp_path / "bomb.png"
    path.write_bytes(png(40_000, 40_000, rows))
    assert path.stat().st_size < 2_000_000
    assert "claims too many pixels" in refusal(path)


# --- anything at all -------------------------------------------------------------------------------------------------


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A copy with a few bytes changed, a piece removed, repeated or moved, or the end cut off."""
    result = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        start = chance.randrange(len(result)) if chance.random() < 0.5 else chance.randrange(min(64, len(result)))
        piece = slice(start, start + chance.randint(1, 40))
        kind = chance.randrange(5)
        if kind < 2:
            result[start] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
        elif kind == 2 and len(result) > 100:
            del result[piece]
        elif kind == 3:
            result[start:start] = result[piece]
        else:
            result[piece] = chance.randbytes(len(result[piece]))
    return bytes(result[: chance.randrange(8, len(result))] if chance.random() < 0.1 else result)


def test_300_mutations_either_load_or_are_refused(capfd):
    exif = Image.Exif()
    exif[274], exif[271] = 6, "Relatent"
    frames = {"save_all": True, "append_images": [noise(mode="L")]}
    files = [
        saved(noise(), "JPEG", exif=exif),
        saved(noise(), "PNG", exif=exif),
        saved(noise(), "WEBP", exif=exif),
        saved(noise(mode="L"), "GIF", **frames),
        saved(noise(), "TIFF", exif=exif),
        saved(noise(), "TIFF", compression="tiff_lzw"),
        saved(noise(), "HEIF", exif=exif),
    ]
    chance, messages, loaded, slowest = random.Random(20240229), [], 0, 0.0
    for index in range(300):
        data = mutated(files[index % len(files)], chance)
        started = time.process_time()
        try:
            pixels = read_photo(data, "fuzz").pixels
        except UnreadablePhotoError as error:
            messages.append(str(error))
        else:
            assert pixels.dtype == np.uint8
            assert pixels.shape[2] == 3
            loaded += 1
        slowest = max(slowest, time.process_time() - started)
    gc.collect()  # files left open would warn now
    assert all(message.startswith("fuzz ") for message in messages)
    assert 30 < loaded < 270  # the mutations are neither harmless nor hopeless
    assert slowest < 5
    assert capfd.readouterr().out == ""
