"""A script for what Gradio's widgets do not do: comparing, enlarging, face numbers, scrolling, and the focus."""

from __future__ import annotations

SCRIPT = """
<script>
(() => {
  const HOLD = 200;  // ms; a shorter press enlarges the picture
  const comparing = (on) => document.body.classList.toggle("relatent-comparing", on);
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
    document.body.append(dialog);
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
    return SCRIPT
