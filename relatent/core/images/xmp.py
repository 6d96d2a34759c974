"""Merges Relatent's XMP properties into the XMP packet of a photo.

The photo's packet is untrusted XML. It is read only if it is short, valid UTF-8, and declares no entities.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
META = "adobe:ns:meta/"
BASIC = "http://ns.adobe.com/xap/1.0/"
IPTC_EXTENSION = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
TIFF = "http://ns.adobe.com/tiff/1.0/"
NAMES = {"rdf": RDF, "x": META, "xmp": BASIC, "Iptc4xmpExt": IPTC_EXTENSION}

SOURCE_TYPE = f"{{{IPTC_EXTENSION}}}DigitalSourceType"
TOOL = f"{{{BASIC}}}CreatorTool"
# Properties that are no longer valid after the picture was rotated and edited.
OUTDATED = frozenset((SOURCE_TYPE, TOOL, f"{{{BASIC}}}Thumbnails", f"{{{TIFF}}}Orientation"))
# Namespaces that describe data outside the picture, which are not copied: extended XMP, a video, a gain map.
OUTSIDE = (
    "http://ns.adobe.com/xmp/note/",
    "http://ns.google.com/photos/1.0/camera/",
    "http://ns.google.com/photos/1.0/container/",
    "http://ns.adobe.com/hdr-gain-map/1.0/",
)
LONGEST = 2**20  # bytes; longer packets are ignored
HEAD = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
TAIL = '\n<?xpacket end="w"?>'


def xmp_packet(software: str, source_type: str, kept: bytes | None = None) -> bytes:
    """An XMP packet in UTF-8 with the software and the IPTC digital source type.

    Args:
        software: value of xmp:CreatorTool.
        source_type: URI, value of Iptc4xmpExt:DigitalSourceType.
        kept: the photo's packet, whose other properties are kept; it is dropped if it cannot be parsed.
    """
    root = _parsed(kept)
    if root is None:
        root = ElementTree.Element(f"{{{META}}}xmpmeta")
        ElementTree.SubElement(root, f"{{{RDF}}}RDF")
    rdf = next(root.iter(f"{{{RDF}}}RDF"))
    about = f"{{{RDF}}}about"
    subject = next((one.get(about, "") for one in rdf), "")  # all descriptions of a packet have the same subject
    ours = ElementTree.SubElement(rdf, f"{{{RDF}}}Description", {about: subject})
    ElementTree.SubElement(ours, SOURCE_TYPE).text = source_type
    ElementTree.SubElement(ours, TOOL).text = _printable(software)
    for prefix, uri in NAMES.items():
        ElementTree.register_namespace(prefix, uri)
    return (HEAD + ElementTree.tostring(root, encoding="unicode") + TAIL).encode()


def _parsed(packet: bytes | None) -> ElementTree.Element | None:
    """The photo's packet without outdated properties; None if there is none, or it cannot be parsed."""
    if not packet or len(packet) > LONGEST:
        return None
    try:
        text = packet.decode("utf-8-sig").rstrip("\0")
        if "<!" in text.replace("<!--", ""):  # a declaration, which may define exponentially growing entities
            return None
        root = ElementTree.fromstring(re.sub(r"<\?.*?\?>", "", text, flags=re.DOTALL).strip())
    except (UnicodeDecodeError, ElementTree.ParseError, ValueError, RecursionError):
        return None
    rdf = next(root.iter(f"{{{RDF}}}RDF"), None)
    if rdf is None:
        return None
    for description in rdf:
        for name in [name for name in description.attrib if _outdated(name)]:
            del description.attrib[name]
        for child in [child for child in description if _outdated(child.tag)]:
            description.remove(child)
    for prefix, uri in re.findall(r'xmlns:(\w+)\s*=\s*["\']([^"\']+)["\']', text):
        if not re.fullmatch(r"ns\d+|xml", prefix):  # prefixes that ElementTree reserves
            ElementTree.register_namespace(prefix, uri)
    return root


def _outdated(name: str) -> bool:
    return name in OUTDATED or name[1:].partition("}")[0] in OUTSIDE


def _printable(text: str) -> str:
    """``text`` without control characters, which XML does not allow."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
