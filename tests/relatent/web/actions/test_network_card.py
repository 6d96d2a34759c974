from pathlib import Path

import pytest

from relatent.web.actions.network_card import RESPONSIBLE_USE, licences, network_card, responsible_use, without_files
from stylegan import load, network_id

ROOT = Path(__file__).parents[4]


def test_the_page_says_what_the_document_says():
    document = (ROOT / "docs" / "responsible-use.md").read_text()
    assert RESPONSIBLE_USE.read_text() == without_files(document), (
        "docs/responsible-use.md has changed: write relatent/web/actions/responsible-use.md anew with "
        "relatent.web.actions.network_card.without_files"
    )
    assert "Ask." in responsible_use()


def test_nothing_points_to_files_beside_the_text():
    text = (
        "# A\n\nsee [b](b.md), [c](https://c.example) ([d](d.md)).\n\n"
        "## S\n\n96 samples:\n\n![x](x.png)\n\n## T\n\n    code\n"
    )
    assert without_files(text) == "# A\n\nsee b, [c](https://c.example).\n\n## T\n\n    code\n"


def test_the_embedded_networks_card():
    network = load("faces-128")
    card = network_card(network)
    assert network_id(network) in card
    assert "128 x 128 px" in card
    assert "FairFace" in card
    assert "CC BY 4.0" in card
    assert "](" not in card.replace("](https://", "")
    assert "### faces-128" in card
    assert "comes with Relatent" in licences(network)


def test_a_network_that_only_bears_the_name_has_no_card(tiny_generator):
    tiny_generator.name, tiny_generator.file = "faces-128", "/tmp/faces-128.safetensors"
    assert "FairFace" not in network_card(tiny_generator)
    assert "32 x 32 px" in network_card(tiny_generator)
    assert "ask them for its licence" in licences(tiny_generator)


def test_names_out_of_files_are_plain_text(tiny_generator):
    tiny_generator.name = "<img src=x>[a](http://b)"
    assert "<" not in licences(tiny_generator)
    assert "<" not in network_card(tiny_generator)


def test_published_networks_licences_are_told(tiny_generator):
    tiny_generator.file = "ffhq-1024"
    text = licences(tiny_generator)
    assert "NVIDIA Source Code License" in text
    assert "**commercial use is excluded**" in text


@pytest.mark.parametrize("words", ["iBUG 300-W", "excludes commercial use", "Apache"])
def test_licences_of_what_the_page_runs_on(tiny_generator, words):
    assert words in licences(tiny_generator)


def test_alias_free_networks_have_facts(tiny_alias_free):
    assert "StyleGAN3" in network_card(tiny_alias_free())
