"""Networks in the files of others: which one of a file is wanted, and in which layout it is.

A network lies in a file in one of two ways. NVIDIA's pickles, and what ``torch.save`` makes of their whole networks,
hold an object with its attributes. Everything else holds a state dict, tensors by name, alone or as one entry of many;
its names may all begin alike, as DataParallel, Lightning and the encoders' authors write them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from relatent.core.errors import CheckpointError
from stylegan.bounds import MAX_SHOWN, shown
from stylegan.formats import nvidia, rosinality, stylegan3
from stylegan.formats.relatives import refuse_relative
from stylegan.networks.generator import Generator
from weights.reading.pickles import Content, Persistent, flatten

AVERAGED = ("G_ema", "g_ema", "generator_ema", "params_ema", "ema", "decoder")  # taken where no entry was asked for
LIVE = ("G", "g")  # weights as training left them, worse than their average: taken only where they are asked for
AVERAGE_W = "latent_avg"
WHOLE = "G_ema"  # what the network of a file with nothing else in it is called
ROSINALITY, STYLEGAN2, STYLEGAN3 = "to_rgb1.conv.weight", "synthesis.b4.torgb.weight", "synthesis.input.freqs"
MARK = re.compile(rf"(?:.*\.)?(?={'|'.join(map(re.escape, (ROSINALITY, STYLEGAN2, STYLEGAN3)))}$)")
WRAPPER = re.compile(r"^(module\.|_orig_mod\.|generator\.|model\.)+")  # says nothing of which network it is


@dataclass(frozen=True)
class Candidate:
    """A network that a file seems to hold.

    Attributes:
        name: what ``--entry`` calls it.
        value: the object, or the state dict that it lies in.
        prefix: with which its names begin in the state dict.
        average: what lies beside the state dict as the average w; None if nothing.
    """

    name: str
    value: Any
    prefix: str = ""
    average: Any = None


def read_foreign(content: Content, entry: str | None = None) -> Generator:
    """The generator in a foreign file: float32, on the CPU, frozen, called after its file.

    Args:
        content: the file's.
        entry: which of its networks; None for the averaged one, or the only one.

    Raises:
        CheckpointError: none, one that is not supported, or several and none of them averaged.
    """
    path = content.path
    candidates = {one.name: one for one in _candidates(content.value)}
    found = _chosen(candidates, entry)
    if found is None:
        raise _nothing(content, candidates, entry)
    if isinstance(found.value, Persistent):
        return _from_object(content.take(found.value), found.name, path)
    state = {name: value for name, value in found.value.items() if type(name) is str and name.startswith(found.prefix)}
    tensors = _tensors({name.removeprefix(found.prefix): value for name, value in content.take(state).items()}, path)
    average = tensors.pop(AVERAGE_W, content.take(found.average))
    if average is not None and not isinstance(average, Tensor):
        raise CheckpointError(f"{path} has a {AVERAGE_W} that is a {type(average).__name__}; expected a tensor.")
    refuse_relative(tensors, (), path)
    if ROSINALITY in tensors:
        return rosinality.generator_from_rosinality(tensors, average, path)
    if STYLEGAN3 in tensors:
        return stylegan3.stylegan3_from_tensors(tensors, path)
    return nvidia.stylegan2_from_tensors(tensors, path)


def _from_object(network: Persistent, name: str, path: Path) -> Generator:
    tensors = flatten(network, path)
    refuse_relative(tensors, nvidia.class_names(network), path)
    if network.class_name != "Generator":
        raise CheckpointError(
            f"{path} has a {shown(network.class_name)} in its entry {shown(name)}; expected a generator."
        )
    if any(name.startswith("synthesis.input.") for name in tensors):  # StyleGAN2 starts from a constant
        return stylegan3.read_stylegan3(network, path)
    return nvidia.read_stylegan2(network, path)


def _candidates(value: Any) -> Iterator[Candidate]:
    """Every network in a file."""
    if isinstance(value, Persistent):
        yield Candidate(WHOLE, value)
    if not isinstance(value, dict):
        return
    average = value.get(AVERAGE_W)
    yield from _in_state_dict(value, WHOLE, average)
    for name, part in value.items():
        if type(name) is str and isinstance(part, Persistent):
            yield Candidate(name, part)
        elif type(name) is str and isinstance(part, dict):
            yield from _in_state_dict(part, name, part.get(AVERAGE_W, average))


def _in_state_dict(state: dict[Any, Any], name: str, average: Any) -> Iterator[Candidate]:
    """The networks of one state dict: what stands before a mark's name is the prefix of all of a network's names."""
    prefixes = dict.fromkeys(found[0] for key in state if type(key) is str and (found := MARK.match(key)))
    for prefix in prefixes:
        own = WRAPPER.sub("", prefix).rstrip(".")
        yield Candidate(own or name, state, prefix, average)


def _chosen(candidates: dict[str, Candidate], entry: str | None) -> Candidate | None:
    if entry is not None:
        return candidates.get(WHOLE if entry.lower() == WHOLE.lower() and entry not in candidates else entry)
    averaged = next((candidates[name] for name in AVERAGED if name in candidates), None)
    others = [candidate for name, candidate in candidates.items() if name not in LIVE and _may_draw(candidate)]
    return averaged or (others[0] if len(others) == 1 else None)


def _may_draw(candidate: Candidate) -> bool:
    return not isinstance(candidate.value, Persistent) or candidate.value.class_name == "Generator"


def _tensors(state: dict[str, Any], path: Path) -> dict[str, Tensor]:
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path} has {shown(name)} among its weights, which is no tensor but a {type(value).__name__}; "
                "expected the state dict of a generator."
            )
    return state


def _nothing(content: Content, candidates: dict[str, Candidate], entry: str | None) -> CheckpointError:
    """Why there is no network to read, and what to do about it; raises what is wrong with the file as a whole."""
    path, value = content.path, content.value
    for part in (value, *(value.values() if isinstance(value, dict) else ())):
        if isinstance(part, dict):
            refuse_relative(part, (), path)
    names = [name for name, candidate in candidates.items() if _may_draw(candidate)]
    known = ", ".join(map(shown, names[:MAX_SHOWN]))
    if names and entry is not None:
        return CheckpointError(f"{path} has no generator in {shown(entry)}; expected one of its entries: {known}.")
    if names:
        return CheckpointError(
            f"{path} has no averaged generator; expected {AVERAGED[0]!r} or {AVERAGED[1]!r}. It has the entries "
            f"{known}: choose with python -m weights convert {path} NETWORK.safetensors --entry {names[0]}"
        )
    content.take_all()
    return CheckpointError(
        f"{path} holds no network that can be read; found {described(value)}, expected a StyleGAN2 or StyleGAN3 "
        f"generator of NVIDIA's, of rosinality's, or the decoder of pSp or e4e.{_hint(value)}"
    )


def described(value: Any) -> str:
    """What a file holds, in a few words."""
    if isinstance(value, Persistent):
        return f"a {shown(value.class_name)}"
    if isinstance(value, Tensor):
        return f"a tensor of {list(value.shape)}"
    if not isinstance(value, dict):
        return f"a {type(value).__name__}"
    if not value:
        return "nothing"
    entries = [f"{shown(name)} ({_in_short(part)})" for name, part in list(value.items())[:4]]
    more = f" and {len(value) - 4} more" if len(value) > 4 else ""
    return f"the entries {', '.join(entries)}{more}"


def _in_short(part: Any) -> str:
    if not isinstance(part, dict) or not part:
        return described(part)
    return f"{len(part)} names such as {shown(next(iter(part)))}"


def _hint(value: Any) -> str:
    latent = value
    if isinstance(value, dict):
        latent = next((part.get("latent") for part in value.values() if isinstance(part, dict)), None)
    if isinstance(latent, Tensor) and latent.ndim in (1, 2, 3):
        return " A face's latents are no network: give them to python -m editing edit, and the network with --network."
    return ""
