"""The web page, on which photos of faces are inverted, edited and pasted back.

gradio is imported only when a page is built.
"""

from relatent.web.server import Page, build_page
from relatent.web.settings import Settings

__all__ = ["Page", "Settings", "build_page"]
