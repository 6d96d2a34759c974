"""A script that makes the file chooser of the Photo tab offer all formats that can be read.

Gradio's image widget accepts ``image/*``. For many formats that Relatent reads, such as HEIC on Linux and Windows,
browsers have no such type: the chooser hides the files, and Gradio refuses them. The script adds the suffixes to
``image/*``, and sets the missing type of chosen and dropped files.
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
    """HTML for the head of the page."""
    return SCRIPT % json.dumps(sorted(SUFFIXES))
