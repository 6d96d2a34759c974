from xml.etree import ElementTree

import pytest

from relatent.core.images.xmp import BASIC, IPTC_EXTENSION, RDF, SOURCE_TYPE, TOOL, xmp_packet

URI = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


def packet(properties="", attributes="", about=""):
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="{about}" '
        f'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="{BASIC}" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
        f'xmlns:Iptc4xmpExt="{IPTC_EXTENSION}" {attributes}>{properties}</rdf:Description></rdf:RDF></x:xmpmeta>'
    ).encode()


def parsed(data):
    return ElementTree.fromstring(data.decode().split("?>", 1)[1].rsplit("<?", 1)[0])


def test_a_packet_of_our_own():
    data = xmp_packet("Relatent <&>", URI)
    assert data.startswith(b"<?xpacket begin=")
    assert data.endswith(b'<?xpacket end="w"?>')
    assert [one.text for one in parsed(data).iter(SOURCE_TYPE)] == [URI]
    assert [one.text for one in parsed(data).iter(TOOL)] == ["Relatent <&>"]


def test_foreign_properties_stay():
    kept = b'<?xpacket begin="\xef\xbb\xbf" id="x"?>' + packet(
        "<dc:creator>me</dc:creator>", 'dc:rights="mine"', "uuid:1"
    )
    data = xmp_packet("Relatent", URI, kept + b'  \n<?xpacket end="w"?>\0')
    root = parsed(data)
    ours, theirs = (next(root.iter(f"{{http://purl.org/dc/elements/1.1/}}{name}"), None) for name in ("x", "creator"))
    assert ours is None
    assert theirs.text == "me"
    assert b'dc:rights="mine"' in data  # with its own prefix
    assert {one.get(f"{{{RDF}}}about") for one in root.iter(f"{{{RDF}}}Description")} == {"uuid:1"}


def test_what_is_no_longer_so_goes():
    before = packet(
        "<Iptc4xmpExt:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
        "</Iptc4xmpExt:DigitalSourceType><xmp:Thumbnails>old face</xmp:Thumbnails>",
        'tiff:Orientation="6" xmp:CreatorTool="Camera" xmp:Rating="5" '
        'xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="0123"',
    )
    data = xmp_packet("Relatent", URI, before)
    root = parsed(data)
    assert [one.text for one in root.iter(SOURCE_TYPE)] == [URI]
    for gone in (b"digitalCapture", b"old face", b"Orientation", b"Camera", b"HasExtendedXMP"):
        assert gone not in data
    assert b'xmp:Rating="5"' in data


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        b"not xml",
        b"<a/>",
        b"\xff\xfe<\0a\0/\0>\0",
        packet().replace(b"</rdf:RDF>", b""),
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>' + packet("<dc:title>&b;</dc:title>"),
        packet("x" * 2**20),
        b"<a>" * 100_000,
    ],
)
def test_what_cannot_be_understood_is_dropped(kept):
    assert xmp_packet("Relatent", URI, kept) == xmp_packet("Relatent", URI)


def test_odd_letters_do_no_harm():
    data = xmp_packet("Relatent \x00\x1b \u2603", URI)
    assert next(parsed(data).iter(TOOL)).text == "Relatent    \u2603"
