"""Theme and CSS of the page, for widths from 380 px and dark mode, with system fonts so that nothing is downloaded."""

from __future__ import annotations

from typing import Any

SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Consolas", "monospace")

CSS = """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; overflow: clip !important; }
.relatent-figures { display: flex; flex-wrap: wrap; gap: 12px; justify-content: center; }
.relatent-figure { margin: 0; flex: 1 1 150px; max-width: 384px; text-align: center; }
.relatent-figure.small { flex: 0 0 96px; }
.relatent-figure.photo { flex-basis: 260px; max-width: 640px; }
.relatent-figure img { width: 100%; height: auto; border-radius: 8px; display: block; }
.relatent-figure figcaption { padding-top: 4px; font-size: 0.9em; color: var(--body-text-color); opacity: 0.8; }
.relatent-status { padding: 4px 2px; }
.relatent-status progress { width: 100%; height: 10px; accent-color: var(--color-accent); }
.relatent-status p { margin: 2px 0; }
.relatent-lead { font-size: 1.05em; }
#relatent-saved, .relatent-saved {
  position: absolute; width: 1px; height: 1px; overflow: hidden; opacity: 0; pointer-events: none;
}
.relatent-table { overflow-x: auto; }
.relatent-table table { border-collapse: collapse; width: 100%; }
.relatent-table caption { text-align: left; padding: 4px 2px; }
.relatent-table th, .relatent-table td { padding: 4px 8px; text-align: left; vertical-align: middle; }
.relatent-table tbody tr { border-top: 1px solid var(--border-color-primary); }
.relatent-table img { height: 64px; width: auto; max-width: none; border-radius: 4px; display: block; }
.relatent-table td span { white-space: nowrap; }
.relatent-table .failed { color: var(--error-text-color); }
:focus-visible { outline: 2px solid var(--color-accent) !important; outline-offset: 2px; }
@media (min-width: 700px) { .relatent-result { position: sticky; top: 12px; align-self: flex-start; } }
@media (max-width: 699px) {
  .gradio-container { padding: 8px !important; }
  .relatent-result { display: contents !important; }
  .relatent-live { order: -1; position: sticky; top: 0; z-index: 90; width: 100%; padding: 4px;
    background: var(--body-background-fill); }
  .relatent-live .relatent-figures { flex-wrap: nowrap; }
  .relatent-live .relatent-figure { flex: 1 1 0; min-width: 0; }
  .relatent-live .relatent-figure img { max-height: 34vh; object-fit: contain; }
  .tab-container button { padding: 0 7px !important; }  /* six tabs side by side */
}
"""


def theme() -> Any:
    """Gradio's default theme with system fonts."""
    import gradio as gr

    return gr.themes.Default(primary_hue="teal", secondary_hue="teal", font=SANS, font_mono=MONO)
