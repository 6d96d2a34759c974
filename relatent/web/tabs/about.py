"""The About tab: the network's card, licences, responsible use."""

from __future__ import annotations

import gradio as gr

from relatent.web.actions.network_card import licences, network_card, responsible_use
from relatent.web.state import AppState


def build(app: AppState) -> None:
    """Build the widgets of the tab; it has no events."""
    minutes = app.settings.session_minutes
    gr.Markdown(responsible_use(), elem_id="about-use")
    gr.Markdown(
        "### Your photos here\n\n"
        "What you upload stays on the machine that runs this page, and no other user can see it. It is deleted when "
        f"you close the page, or after {minutes:g} minutes without use. Your browser keeps nothing but a random "
        "number, with which a reload comes back to this visit.",
        elem_id="about-photos",
    )
    gr.Markdown(f"### Licences\n\n{licences(app.network)}", elem_id="about-licences")
    with gr.Accordion("The network's card", open=False):
        gr.Markdown(network_card(app.network), elem_id="about-card")
