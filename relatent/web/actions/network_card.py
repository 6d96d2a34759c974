"""The content of the About tab: the network's card, licences, and responsible use."""

from __future__ import annotations

import re
from pathlib import Path

from relatent.core.errors import WeightsError
from stylegan import AliasFreeConfig, Generator, network_id
from weights.embedded import FOLDER, network_names
from weights.manifest import entries

RESPONSIBLE_USE = Path(__file__).with_name("responsible-use.md")  # docs/responsible-use.md without its links
IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
ASIDE = re.compile(r"\s*\(\[[^\]]*\]\((?!https?://)[^)]*\)\)")  # parentheses with nothing but a link to a local file
LINK = re.compile(r"\[([^\]]*)\]\((?!https?://)[^)]*\)")  # a link to a local file, which the page does not serve

CODE = (
    "**Relatent** is free software under the Apache License 2.0.\n\n"
    "**dlib's 68 landmarks**, which find the face in a photo, were trained on the iBUG 300-W data, whose licence "
    "excludes commercial use. Whoever uses Relatent commercially replaces that model or asks Imperial College London. "
    "dlib's recognition network is in the public domain (CC0)."
)


def network_card(network: Generator) -> str:
    """A table of the network's sizes and id in Markdown, followed by the model card of an embedded network."""
    config = network.config
    kind = "StyleGAN3 (alias-free)" if isinstance(config, AliasFreeConfig) else "StyleGAN2"
    scale, shift = network.alignment.scale, network.alignment.shift
    name, _, fingerprint = network_id(network).rpartition("@")
    facts = {
        "id": f"`{_plain(name)}@{fingerprint}`",
        "kind": kind,
        "pictures": f"{network.resolution} x {network.resolution} px",
        "latents": f"{network.num_ws} layers of {network.w_dim} numbers",
        "crop": f"{scale:g} of the FFHQ crop's side, moved down by {shift:g} of it",
    }
    if network.c_dim:
        facts["classes"] = str(network.c_dim)
    table = "\n".join(
        ["| this page's network | |", "|---|---|", *(f"| {key} | {text} |" for key, text in facts.items())]
    )
    return f"{table}\n\n{_own_card(network)}".strip()


def licences(network: Generator) -> str:
    """The licences of network and code, in Markdown."""
    return f"{_network_licence(network)}\n\n{CODE}"


def responsible_use() -> str:
    """The rules of responsible use, in Markdown."""
    return _one_level_down(RESPONSIBLE_USE.read_text(encoding="utf-8"))


def without_files(text: str) -> str:
    """Markdown without local files: removes pictures and their introductions, and turns links into plain text."""
    kept: list[str] = []
    for paragraph in text.split("\n\n"):
        if IMAGE.fullmatch(paragraph.strip()):
            if kept and kept[-1].endswith(":"):
                kept.pop()
            continue
        kept.append(LINK.sub(r"\1", ASIDE.sub("", paragraph)).strip("\n"))
    full = [part for part, following in zip(kept, [*kept[1:], "#"], strict=True) if not _is_empty(part, following)]
    return "\n\n".join(full) + "\n"


def _own_card(network: Generator) -> str:
    if network.file not in network_names():  # by file, because another network may have the same name
        return ""
    return _one_level_down(without_files((FOLDER / network.file / "README.md").read_text(encoding="utf-8")))


def _network_licence(network: Generator) -> str:
    if network.file in network_names():
        return f"**The network {network.file}** comes with Relatent; its licence and attribution are on its card."
    try:
        entry = entries().get(network.file)
    except WeightsError:
        entry = None
    if entry is None:
        return (
            f"**The network {_plain(network.name) or 'of this page'}** was chosen by whoever runs this page; "
            "ask them for its licence before you use its pictures."
        )
    terms = "**commercial use is excluded**" if entry.non_commercial else "see the text"
    return (
        f"**The network {entry.name}** is under the [{entry.licence}]({entry.licence_url}): {terms}. "
        f"It comes from [{entry.origin}]({entry.origin})."
    )


def _plain(name: str) -> str:
    """A name from an untrusted file, without characters that are Markdown syntax."""
    return re.sub(r"[^\w\-. ]", "_", name)


def _is_empty(part: str, following: str) -> bool:
    """Whether ``part`` is a heading without content before the next one."""
    return part.startswith("##") and following.startswith("#") and _level(following) <= _level(part)


def _level(heading: str) -> int:
    return len(heading) - len(heading.lstrip("#"))


def _one_level_down(text: str) -> str:
    """The text with its headings two levels lower, below the heading of the tab."""
    return re.sub(r"^(#+ )", r"##\1", text, flags=re.MULTILINE)
