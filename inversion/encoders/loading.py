"""`load_encoder` reads encoder files of all supported formats."""

from __future__ import annotations

from pathlib import Path

from inversion.encoders.encoder import Encoder
from inversion.encoders.file import read_encoder
from inversion.encoders.psp import encoder_from_psp, read_psp
from relatent.core.errors import CheckpointError
from stylegan.formats.loading import is_published
from weights.fetching.fetch import locate
from weights.reading.file_kinds import kind_of


def load_encoder(name_or_file: str | Path) -> Encoder:
    """Load an encoder: float32, on the CPU, frozen, in evaluation mode.

    The format is recognised by the file's content. Nothing in the file is executed.

    Args:
        name_or_file: a published encoder that has been fetched ("e4e-ffhq"), or a path: Relatent's
            ``.safetensors``, or a checkpoint of pSp or e4e.

    Raises:
        CheckpointError: missing, damaged, or not an encoder.
    """
    text = str(name_or_file)
    path = locate(text) if is_published(text) else Path(text)
    kind = kind_of(path)
    if kind == "torch":
        return encoder_from_psp(read_psp(path))
    if kind == "safetensors":
        return read_encoder(path)
    raise CheckpointError(f"{path} is a {kind} file; expected an encoder: our .safetensors, or a .pt of pSp or e4e.")
