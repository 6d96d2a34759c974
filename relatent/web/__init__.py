"""The page: upload a photo, see the face found, inverted, changed and put back, in a browser.

gradio is imported when a page is built and not before.
"""

from relatent.web.server import Page, build_page
from relatent.web.settings import Settings

__all__ = ["Page", "Settings", "build_page"]
