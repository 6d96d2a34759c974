"""A script for what Gradio's widgets do not do: comparing, enlarging, face numbers, scrolling, and the focus.

It also says why a button is off, and what a number out of range was changed to, in a line below the status line.
"""

from __future__ import annotations

import json

from relatent.web import drag_script

NOTICE = '<div class="relatent-status" role="status" id="notice"></div>'
NO_FACE = "Choose a photo first, or wait until its face is found."
NO_MIX = "Choose two faces first, and which styles come in."
REASONS = {  # why a button is off, by the beginning of its element id
    "quick-": NO_FACE,
    "compare": NO_FACE,
    "invert": NO_FACE,
    "undo": "There is nothing to undo.",
    "redo": "There is nothing to redo.",
    "get-photo": "There is no photo to put the face into. Files for researchers has the face alone.",
    "mix-get-": NO_MIX,
    "mix-keep": NO_MIX,
}
SCRIPT = """
<script>
(() => {
  const reasons = %s;
  const reason = (button) =>
    button?.disabled && Object.entries(reasons).find(([start]) => button.id.startsWith(start))?.[1];
  const explained = Object.keys(reasons).map((start) => `button[id^="${start}"]`).join();
  const say = (text) => {
    const line = document.querySelector("#notice");
    if (line && line.textContent !== text) line.textContent = text;
  };
  document.addEventListener("pointerdown", (event) => say(reason(event.target.closest?.("button")) || ""), true);
  document.addEventListener("input", () => say(""), true);

  // A typed number out of range becomes the nearest one.
  document.addEventListener("change", (event) => {
    const box = event.target;
    if (!(box instanceof HTMLInputElement) || box.type !== "number" || box.value === "") return;
    const low = box.min === "" ? -Infinity : Number(box.min), high = box.max === "" ? Infinity : Number(box.max);
    const wanted = Math.min(high, Math.max(low, Number(box.value)));
    if (wanted === Number(box.value)) return;
    box.value = wanted;
    box.dispatchEvent(new Event("input", { bubbles: true }));
    const name = box.labels?.[0]?.innerText || box.getAttribute("aria-label") || "This number";
    const range = high === Infinity ? `starts at ${low}` : `goes from ${low} to ${high}`;
    say(`${name.replace(/^number input for /, "").trim()} ${range}; it is ${wanted} now.`);
  }, true);

  const HOLD = 200;  // ms; a shorter press enlarges the picture
  const comparing = (on) => document.querySelector("#stage-picture")?.toggleAttribute("data-comparing", on);
  let pressed = 0;
  document.addEventListener("pointerdown", (event) => {
    if (event.target.closest?.("#compare")) return comparing(true);
    if (!event.target.closest?.("#edited img")) return;
    pressed = performance.now();
    setTimeout(() => { if (pressed) comparing(true); }, HOLD);
  });
  for (const name of ["pointerup", "pointercancel", "blur"]) {
    window.addEventListener(name, () => { comparing(false); if (name !== "pointerup") pressed = 0; });
  }
  document.addEventListener("keydown", (event) => {
    if ((event.key === " " || event.key === "Enter") && event.target.closest?.("#compare")) comparing(true);
  });
  document.addEventListener("keyup", () => comparing(false));
  document.addEventListener("contextmenu", (event) => {
    if (event.target.closest?.("#stage-picture img")) event.preventDefault();
  });
  document.addEventListener("click", (event) => {
    const tag = event.target.closest?.(".relatent-tag");
    if (tag) return document.querySelectorAll("#face input")[Number(tag.dataset.face) - 1]?.click();
    const picture = event.target.closest?.("#edited img, .relatent-figure img, .relatent-example img");
    if (!picture) return;
    const held = pressed && performance.now() - pressed > HOLD;
    pressed = 0;
    if (held) return;
    const dialog = document.createElement("dialog");
    dialog.className = "relatent-zoom";
    dialog.append(Object.assign(new Image(), { src: picture.src, alt: picture.alt }));
    dialog.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => dialog.remove());
    document.querySelector("#notice-line").parentElement.append(dialog);  // where the page's CSS holds
    dialog.showModal();
  });

  // The numbers beside the faces lie on the picture, which is narrower than its column.
  const align = () => {
    const tags = document.querySelector("#tags");
    const picture = document.querySelector("#edited img");
    if (!tags || !picture || !tags.querySelector(".relatent-tag")) return;
    const outer = document.querySelector("#stage").getBoundingClientRect(), inner = picture.getBoundingClientRect();
    Object.assign(tags.style, { left: `${inner.left - outer.left}px`, top: `${inner.top - outer.top}px`,
      width: `${inner.width}px`, height: `${inner.height}px`, right: "auto", bottom: "auto" });
  };
  addEventListener("resize", align);
  document.addEventListener("load", align, true);

  // A focused control that is hidden or disabled hands the focus on, so that it does not fall to the body.
  let last = null, before = false;
  document.addEventListener("focusin", (event) => { last = event.target; });
  const gone = (one) => !one.isConnected || one.disabled || !one.checkVisibility();
  const look = () => {
    align();
    for (const one of document.querySelectorAll(explained)) {
      const why = reason(one);
      if (why && one.title !== why) one.title = why;
      else if (!why && one.title) one.removeAttribute("title");
    }
    const stage = document.querySelector("#stage-picture img");
    if (stage && !before && innerWidth < 768) stage.scrollIntoView({ block: "center", behavior: "smooth" });
    before = Boolean(stage);
    if (document.activeElement !== document.body || !last || !gone(last)) return;
    const next = [...document.querySelectorAll("#quick-smile, #cancel, #another, #example, [role=tab]")]
      .find((one) => !gone(one));
    next?.focus({ preventScroll: true });
  };
  let waiting = false;
  new MutationObserver(() => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => { waiting = false; look(); }, 50);
  }).observe(document, { subtree: true, childList: true, attributeFilter: ["disabled", "class"] });
})();
</script>
"""


def head() -> str:
    """HTML for the head of the page."""
    return SCRIPT % json.dumps(REASONS) + drag_script.SCRIPT
