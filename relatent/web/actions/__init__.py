"""What the tabs do, as plain functions that know no gradio."""
