"""The script of the Drag tab: points and a mask are marked on the face, with a mouse, a pen or a finger.

The marks are one JSON text in a hidden textbox, in shares of the face's square (relatent.web.actions.drag.Marks). The
script writes it when somebody draws, and draws it anew when the page sets it.
"""

from __future__ import annotations

OVERLAY = (
    '<svg id="drag-overlay" viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img" '
    'aria-label="Points and mask on the face. Without a pointer, use the number fields."></svg>'
)
SHOW = "text => window.relatentDrag?.show(text)"

SCRIPT = """
<script>
(() => {
  const NEAR = 22;  // px: a finger grabs a point within this
  const MOVED = 8;  // px: a shorter movement is a touch
  let marks = { pairs: [], strokes: [] }, pending = null, held = null, stroke = null;
  const svg = () => document.querySelector("#drag-overlay");
  const painting = () => document.querySelector("#drag-mode input:checked")?.value === "mask";
  const number = (selector, other) => Number(document.querySelector(selector)?.value ?? other) || other;
  const clamp = (value) => Math.min(1, Math.max(0, value));

  const draw = () => {
    const target = svg();
    if (!target) return;
    const box = target.getBoundingClientRect();
    const unit = 1000 / (box.width || 1000);  // of one pixel of the screen
    const place = ([x, y]) => `${(1000 * x).toFixed(1)},${(1000 * y).toFixed(1)}`;
    const parts = marks.strokes.map(({ radius, places }) =>
      `<polyline points="${(places.length > 1 ? places : [places[0], places[0]]).map(place).join(" ")}" ` +
      `stroke-width="${2000 * radius}"/>`);
    const dot = ([x, y], kind, text) =>
      `<circle class="${kind}" cx="${1000 * x}" cy="${1000 * y}" r="${11 * unit}" stroke-width="${2 * unit}"/>` +
      `<text x="${1000 * x}" y="${1000 * y + 4.5 * unit}" font-size="${13 * unit}">${text}</text>`;
    const points = marks.pairs.map(([x, y, a, b], index) =>
      `<line x1="${1000 * x}" y1="${1000 * y}" x2="${1000 * a}" y2="${1000 * b}" stroke-width="${2 * unit}"/>` +
      dot([a, b], "end", index + 1) + dot([x, y], "start", index + 1));
    const next = marks.pairs.length + 1;
    if (pending && held?.end) points.push(dot(held.end, "end", next));
    if (pending) points.push(dot(pending, "start", next));
    target.innerHTML = `<g class="mask">${parts.join("")}</g>${points.join("")}`;
  };
  const write = () => {
    const area = document.querySelector("#drag-marks textarea, #drag-marks input");
    if (!area) return;
    area.value = JSON.stringify(marks);
    area.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const show = (text) => {
    try { marks = { pairs: [], strokes: [], ...JSON.parse(text || "{}") }; } catch { return; }
    pending = null;
    requestAnimationFrame(draw);
  };
  window.relatentDrag = { show };

  const at = (event) => {
    const box = svg().getBoundingClientRect();
    return [clamp((event.clientX - box.left) / box.width), clamp((event.clientY - box.top) / box.height)];
  };
  const pixels = ([x, y], [a, b]) => {
    const box = svg().getBoundingClientRect();
    return Math.hypot((x - a) * box.width, (y - b) * box.height);
  };
  const grabbed = (place) => {
    let best = null, least = NEAR;
    marks.pairs.forEach((pair, index) => {
      for (const first of [2, 0]) {
        const far = pixels(place, pair.slice(first, first + 2));
        if (far < least) [best, least] = [{ index, first }, far];
      }
    });
    return best;
  };
  document.addEventListener("pointerdown", (event) => {
    if (event.target.closest?.("#drag-overlay") !== svg() || !svg() || event.button) return;
    event.preventDefault();
    svg().setPointerCapture?.(event.pointerId);
    const place = at(event);
    if (painting()) {
      stroke = { radius: number("#drag-brush input", 6) / 100, places: [place] };
      marks.strokes.push(stroke);
    } else {
      held = grabbed(place) ?? { from: pending ?? place, touched: Boolean(pending), start: place };
      if (held.from) pending = held.from;
    }
    draw();
  });
  document.addEventListener("pointermove", (event) => {
    if (!svg() || (!stroke && !held)) return;
    const place = at(event);
    if (stroke) {
      if (pixels(place, stroke.places.at(-1)) > 2) stroke.places.push(place);
    } else if (held.from) {
      held.moved = held.moved || pixels(place, held.start) > MOVED;
      if (held.moved) held.end = place;
    } else {
      marks.pairs[held.index].splice(held.first, 2, ...place);
    }
    draw();
  });
  const up = (event) => {
    if (!svg() || (!stroke && !held)) return;
    if (held?.from) {
      const place = at(event);
      if (held.touched || held.moved) {
        if (pixels(held.from, place) > 1) marks.pairs.push([...held.from, ...place]);
        pending = null;
      }
    }
    const changed = stroke || !held.from || !pending;
    stroke = held = null;
    draw();
    if (changed) write();
  };
  document.addEventListener("pointerup", up);
  document.addEventListener("pointercancel", () => { stroke = held = null; draw(); });
  addEventListener("resize", draw);
  document.addEventListener("load", (event) => { if (event.target.closest?.("#drag-picture")) draw(); }, true);
})();
</script>
"""
