"""Theme and CSS of the page, for widths from 320 px and dark mode, with system fonts so that nothing is downloaded."""

from __future__ import annotations

from typing import Any

SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Consolas", "monospace")

CSS = """
.gradio-container { width: 100% !important; max-width: 1240px !important; margin: 0 auto !important;
  overflow: clip !important; }
.gradio-container .prose h1 { font-size: 1.5rem; font-weight: 650; letter-spacing: -0.01em; margin: 0; }
.gradio-container > .main { width: 100% !important; max-width: 1240px !important;
  padding: 16px min(24px, 3vw) !important; }  /* here, because Gradio scopes the rules of media queries */
.gradio-container > .main > .wrap, .gradio-container main { width: 100% !important; max-width: 100% !important;
  padding: 0 !important; }
.gradio-container :has(#lead) { width: 100% !important; align-self: stretch; }  /* never as narrow as its content */
.form, .relatent-centred, .relatent-side .block { background: transparent !important; }
.relatent-side .label-wrap { font-weight: 600; }
.relatent-side .form { gap: 4px; }
#lead, #status, #status .html-container { padding: 0 !important; }
#upload, .relatent-main > * { gap: 12px; }
#edited, #original, #edited .html-container, #original .html-container, #examples .html-container { padding: 0; }
#location { min-height: 0; }
#lead p { margin: 2px 0 0; opacity: 0.8; }
#notice-line { padding: 0 !important; min-height: 0; }
#notice:empty { display: none; }
/* Buttons are as wide as their words, not as the page. */
button.lg, #get-photo { flex: 0 1 auto !important; width: auto !important; min-width: min(220px, 100%) !important;
  padding-inline: 28px !important; align-self: center; }
button.sm { width: auto !important; align-self: flex-start; flex: 0 1 auto !important; min-height: 36px;
  padding-inline: 14px !important; border: 1px solid var(--border-color-primary); }
.label-wrap { align-items: center; }
.label-wrap .icon { font-size: 0.7em; opacity: 0.7; margin-left: 8px; }
.relatent-screen { align-items: flex-start; }
.block, .form { border-color: transparent !important; box-shadow: none !important; }
.tabitem { border: 0 !important; padding: 12px 0 !important; }
.gradio-container :has(> #lead) { gap: 4px; }
#status { min-height: 28px; position: sticky; top: 0; z-index: 100; background: var(--body-background-fill); }
.relatent-status { padding: 4px 2px; }
.relatent-status p { margin: 2px 0; }
.relatent-status progress { width: 100%; height: 6px; appearance: none; border: 0; border-radius: 3px;
  background: var(--border-color-primary); overflow: hidden; }
.relatent-status progress::-webkit-progress-bar { background: var(--border-color-primary); }
.relatent-status progress::-webkit-progress-value { background: var(--color-accent); }
.relatent-status progress::-moz-progress-bar { background: var(--color-accent); }
.relatent-status.error { color: var(--error-text-color); background: var(--error-background-fill);
  border-left: 4px solid var(--error-border-color); border-radius: 6px; padding: 6px 12px; }
.relatent-figures { display: flex; flex-wrap: wrap; gap: 12px; justify-content: center; }
.relatent-figure { margin: 0; flex: 1 1 150px; max-width: 384px; text-align: center; }
.relatent-figure.small { flex: 0 0 96px; }
.relatent-figure.photo { flex-basis: 260px; max-width: 640px; }
.relatent-figure.strip { max-width: none; }
.relatent-figure img { width: 100%; height: auto; border-radius: 8px; display: block; }
.relatent-figure figcaption { padding-top: 4px; font-size: 0.9em; color: var(--body-text-color); opacity: 0.8; }
.relatent-lead { font-size: 1.05em; }
/* The Drag tab: an overlay of the face's size takes the pointer. */
#drag-stage { position: relative; gap: 0; width: min(512px, 100%); margin: 0 auto; flex: 0 0 auto; min-width: 0; }
#drag-picture, #drag-picture .html-container { padding: 0; }
#drag-picture .relatent-figure { flex: 1 1 100%; max-width: 100%; }
#drag-picture .relatent-figure img { width: 100%; border-radius: 12px; }
#drag-picture figcaption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
#drag-above { position: absolute !important; inset: 0; padding: 0; z-index: 5; overflow: hidden !important; }
#drag-above .html-container, #drag-above .prose { padding: 0; width: 100%; height: 100%; }
#drag-overlay { display: block; width: 100%; height: 100%; touch-action: none; cursor: crosshair; user-select: none; }
#drag-overlay circle { stroke: #fff; }
#drag-overlay .start { fill: #c81e1e; }
#drag-overlay .end { fill: #1d4ed8; }
#drag-overlay line { stroke: #fff; }
#drag-overlay text { fill: #fff; font-weight: 700; text-anchor: middle; pointer-events: none; }
#drag-overlay .mask { opacity: 0.4; fill: none; stroke: #2dd4bf; stroke-linecap: round; stroke-linejoin: round; }
#drag-mode label { min-height: 44px; }
#drag-add { min-height: 44px; }
/* The photo: its original lies over it and is shown while somebody compares. */
#photo { border: 2px dashed var(--neutral-400) !important; border-radius: 14px; min-height: 240px; }
#photo:hover { border-color: var(--color-accent) !important; }
#stage { position: relative; gap: 8px; }
#stage-picture { position: relative; gap: 0; min-height: 120px; }
#stage-picture figcaption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
#stage-picture .relatent-figure { flex: 0 1 auto; max-width: 100%; }
#stage-picture img { width: auto; max-width: 100%; max-height: 62vh; cursor: zoom-in; border-radius: 12px;
  -webkit-touch-callout: none; user-select: none; touch-action: pan-y; }
#stage-picture .face img { width: min(512px, 100%); }
/* Gradio fades every change of its containers; comparing is at once. */
#stage-picture .html-container { transition: none; }
#original { position: absolute !important; inset: 0; visibility: hidden; pointer-events: none; }
#stage-picture[data-comparing] #original { visibility: visible; }
#stage-picture[data-comparing] #edited { visibility: hidden; }
#tags { position: absolute !important; inset: 0; z-index: 5; pointer-events: none; overflow: visible !important;
  min-height: 0; padding: 0; }
.relatent-tag { position: absolute; pointer-events: auto; display: grid; place-items: center; padding: 0;
  width: 32px; min-width: 0; height: 32px; min-height: 0; line-height: 1; border-radius: 50%;
  transform: translate(-40%, -40%); font-weight: 650; background: rgba(255, 255, 255, 0.92); color: #1c2321;
  border: 1px solid rgba(0, 0, 0, 0.4); }
.relatent-tag::after { content: ""; position: absolute; inset: -7px; }  /* a finger needs 44 px */
.relatent-tag.chosen { background: var(--color-accent); color: #fff; }
.relatent-quick { gap: 8px !important; flex-wrap: wrap; }
.relatent-quick button, .relatent-tools button, #another, #example { border: 1px solid var(--border-color-primary); }
.relatent-quick button { min-height: 44px; border-radius: 22px; font-weight: 600; flex: 1 1 0 !important;
  min-width: 0 !important; padding-inline: 6px !important; align-self: auto; }
.relatent-tools { align-items: center; gap: 8px !important; justify-content: center; }
.row:has(> #another) { justify-content: center; }
.relatent-tools button, #another, #cancel, #example { min-height: 44px; }
#example { align-self: center; border-radius: 22px; }
#compare { touch-action: none; user-select: none; }
#view { flex: 0 0 auto !important; min-width: max-content !important; width: max-content !important; padding: 0; }
#view .wrap { flex-wrap: nowrap; gap: 0; border: 1px solid var(--border-color-primary); border-radius: 10px;
  overflow: hidden; }
#view label { border: 0; border-radius: 0; min-height: 42px; background: transparent; }
#view label.selected { background: var(--primary-700); color: #fff; }
#view label.selected span { color: #fff; }
#view input { position: absolute; opacity: 0; }
#view label:focus-within { outline: 2px solid var(--color-accent); outline-offset: -2px; }
#get-photo { min-height: 48px; }
#location { opacity: 0.85; width: auto !important; align-self: center; }
#view label span { margin: 0 !important; }
.relatent-examples { display: grid; gap: 12px; }
.relatent-example { margin: 0; position: relative; }
.relatent-example img { width: 100%; border-radius: 12px; display: block; cursor: zoom-in; }
.relatent-example figcaption { position: absolute; left: 50%; bottom: 10px; transform: translateX(-50%);
  padding: 3px 14px; border-radius: 14px; font-size: 0.9em; font-weight: 600; white-space: nowrap;
  background: rgba(255, 255, 255, 0.92); color: #1c2321; }
.relatent-zoom { border: 0; padding: 0; margin: auto; background: transparent; max-width: 100vw; max-height: 100vh; }
.relatent-zoom::backdrop { background: rgba(0, 0, 0, 0.85); }
.relatent-zoom img { width: 96vw; height: 94vh; object-fit: contain; cursor: zoom-out; }
/* Sliders of directions are filled from the centre. */
.relatent-centred input[type=range] { --from: min(50%, var(--range_progress)); --to: max(50%, var(--range_progress)); }
.relatent-centred input[type=range]::-webkit-slider-runnable-track { background: linear-gradient(to right,
  var(--relatent-rail) var(--from), var(--slider-color) var(--from), var(--slider-color) var(--to),
  var(--relatent-rail) var(--to)) !important; border-radius: 4px; }
.gradio-container { --relatent-rail: var(--neutral-300); }
.dark .gradio-container, .gradio-container.dark { --relatent-rail: var(--neutral-600); }
.relatent-centred input[type=range]::-moz-range-progress { background: transparent !important; }
footer .divider { display: none !important; }  /* it would divide the only link from nothing */
.relatent-saved {
  position: absolute; width: 1px; height: 1px; overflow: hidden; opacity: 0; pointer-events: none;
}
.relatent-table { overflow-x: auto; }
.relatent-table table { border-collapse: collapse; width: 100%; }
.relatent-table caption { text-align: left; padding: 4px 2px; }
.relatent-table th, .relatent-table td { padding: 6px 10px 6px 0; text-align: left; vertical-align: middle;
  border: 0 !important; }
.relatent-table tbody tr { border-top: 1px solid var(--border-color-primary) !important; }
.relatent-table img { height: 64px; width: auto; max-width: none; border-radius: 4px; display: block; }
.relatent-table td span { white-space: nowrap; }
.relatent-table .failed { color: var(--error-text-color); }
:focus-visible { outline: 2px solid var(--color-accent) !important; outline-offset: 2px; }
@media (min-width: 768px) {
  #photo, #photo > .image-container { height: 440px !important; }
  .relatent-result, .relatent-main { position: sticky; top: 44px; align-self: flex-start; }
}
@media (max-width: 767px) {
  .relatent-screen { flex-direction: column !important; }
  .relatent-main, .relatent-side { width: 100%; min-width: 0 !important; }
  .relatent-quick { gap: 6px !important; }
  .relatent-quick button { min-width: 0 !important; padding: 0 2px !important; font-size: 0.8rem; }
  .relatent-tools { gap: 4px !important; flex-wrap: wrap !important; }
  .relatent-tools button.sm { padding-inline: 6px !important; font-size: 0.75rem; min-width: 0 !important;
    flex: 1 1 auto !important; white-space: nowrap; }
  #view label { padding-inline: 7px !important; font-size: 0.75rem; min-width: 44px; justify-content: center; }
  #get-photo { width: 100% !important; }
  .relatent-result { display: contents !important; }
  .relatent-live { order: -1; position: sticky; top: 40px; z-index: 90; width: 100%; padding: 4px;
    background: var(--body-background-fill); }
  .relatent-live .relatent-figures { flex-wrap: nowrap; }
  .relatent-live .relatent-figure { flex: 1 1 0; min-width: 0; }
  .relatent-live .relatent-figure img { max-height: 34vh; object-fit: contain; }
  .tab-container button { padding: 0 7px !important; min-height: 44px; }  /* five tabs side by side */
  button.sm, .label-wrap { min-height: 44px; }
}
"""


def theme() -> Any:
    """A calm theme of one accent, with system fonts."""
    import gradio as gr

    base = gr.themes.Base(
        primary_hue="teal", secondary_hue="teal", neutral_hue="stone", radius_size="lg", font=SANS, font_mono=MONO
    )
    return base.set(
        block_border_width="0px",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_shadow="none",
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_900",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_text_color="white",
        button_secondary_background_fill="white",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_600",
        slider_color="*primary_600",
        slider_color_dark="*primary_500",
    )
