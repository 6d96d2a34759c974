"""The actions of the tabs, as plain functions without gradio."""
