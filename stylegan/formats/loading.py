"""`load` reads generators of all supported formats, by name or file."""

from __future__ import annotations

from pathlib import Path

from relatent.core.errors import CheckpointError, UnknownNameError, UsageError
from stylegan.formats.checkpoint import is_foreign, load_generator, read_safetensors
from stylegan.formats.foreign import read_foreign
from stylegan.networks.generator import Generator
from weights.embedded import network_names, network_path
from weights.fetching.fetch import is_known, locate
from weights.manifest import entries, find_entry
from weights.reading.file_kinds import kind_of
from weights.reading.pickles import Content, open_pickle, open_torch

DRAWING_KINDS = ("generator", "encoder")  # published encoder files also contain their generator


def load(name_or_file: str | Path, *, entry: str | None = None) -> Generator:
    """Load a generator: float32, on the CPU, frozen.

    The format is recognised by the file's content. Nothing in the file is executed. Foreign networks get FFHQ's
    alignment and the name of their file.

    Args:
        name_or_file: an embedded network ("faces-128"), a published one that has been fetched ("ffhq-1024"), or a
            path: our ``.safetensors``; StyleGAN2-ADA or StyleGAN3 by NVIDIA as a pickle, as PTI and others save it
            with ``torch.save``, or as a state dict in ``.pt`` or ``.safetensors``; a ``.pt`` of rosinality, pSp or e4e.
        entry: which network of a foreign file that holds several; None for its "G_ema", "g_ema" or decoder, or the
            only one.

    Raises:
        UnknownNameError: neither a known name nor an existing file.
        MissingWeightsError: a published network that has not been fetched; the message names the command.
        UsageError: ``entry`` for a file with one network.
        CheckpointError: the file cannot be read as a network.
    """
    text = str(name_or_file)
    path = find_network(text)
    generator = _read(path, entry)
    known = text in network_names() or is_published(text)
    generator.file = text if known else str(path.absolute())  # a latent remembers it, whatever folder it is used in
    if is_published(text):
        generator.name = text
        generator.alignment = find_entry(text).alignment or generator.alignment
    return generator


def _read(path: Path, entry: str | None) -> Generator:
    kind = kind_of(path)
    if kind == "pickle":
        return read_foreign(open_pickle(path), entry)
    if kind == "torch":
        return read_foreign(open_torch(path), entry)
    if is_foreign(path):
        tensors, _ = read_safetensors(path)
        return read_foreign(Content.of_tensors(tensors, path), entry)
    if entry is not None:
        raise UsageError(f"{path} holds one network; there is no entry {entry!r} to choose. Leave it out.")
    return load_generator(path)


def find_network(text: str) -> Path:
    """The file of a network given by name or path; raises as :func:`load` does."""
    if not text:
        raise UsageError("a network came as an empty text; expected a name or a file. Leave it out for the default.")
    if text in network_names():
        return network_path(text)
    path = Path(text)
    if is_published(text):
        return locate(text)
    expected = f"expected a network file or one of the names {', '.join(network_names()) or '(none is embedded)'}"
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; {expected}.")
    if path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        raise CheckpointError(f"{path} does not exist; {expected}.")
    published = [name for name, entry in entries().items() if entry.kind in DRAWING_KINDS]
    raise UnknownNameError("network", text, [*network_names(), *published], "A path to a network file works too.")


def is_published(text: str) -> bool:
    """Whether ``text`` is the name of weights in the manifest; a file of that name takes precedence."""
    return is_known(text) and not Path(text).is_file()
