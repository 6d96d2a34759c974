"""The file chooser of the Photo tab for every picture that can be read.

Gradio's image widget asks for ``image/*``. Browsers know no such type for many files that Relatent reads, HEIC on Linux
and Windows among them: their chooser hides them, and Gradio's own code then refuses them. The script below lists the
suffixes beside ``image/*`` and gives a chosen or dropped file the type that the browser did not know.
"""

from __future__ import annotations

import json

from relatent.core.images import SUFFIXES

SCRIPT = """
<script>
(() => {
  const suffixes = %s;
  const known = (file) => suffixes.some((suffix) => file.name.toLowerCase().endsWith(suffix));
  const pictures = (node) =>
    node instanceof HTMLInputElement && node.type === "file" && node.accept.includes("image/*");
  const nameless = (file) => known(file) && !file.type.startsWith("image/");
  const untyped = (files) => [...files].some(nameless);
  const typed = (files) => {
    const all = new DataTransfer();
    for (const file of files) {
      all.items.add(nameless(file) ? new File([file], file.name, { type: "image/x" }) : file);
    }
    return all.files;
  };
  const inputOf = (node) => node instanceof Element && node.closest(".block")?.querySelector("input[type=file]");
  const offer = (event) => {
    const input = inputOf(event.target);
    if (input && pictures(input)) input.accept = ["image/*", ...suffixes].join(", ");
  };
  document.addEventListener("click", offer, true);  // before Gradio opens the chooser
  document.addEventListener("change", (event) => {
    if (pictures(event.target) && untyped(event.target.files)) event.target.files = typed(event.target.files);
  }, true);
  document.addEventListener("drop", (event) => {
    const input = inputOf(event.target);
    if (!input || !pictures(input) || !event.dataTransfer || !untyped(event.dataTransfer.files)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    input.files = typed(event.dataTransfer.files);
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }, true);
})();
</script>
"""


def head() -> str:
    """What goes into the page's head."""
    return SCRIPT % json.dumps(sorted(SUFFIXES))
