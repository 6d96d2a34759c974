"""What a visitor does, in the words of the tests."""

from __future__ import annotations

from inversion.project import demo_photo
from relatent.web.tabs.edit import QUICK

SMILE = QUICK["Smile"][1]  # what the button sets


def wait_for_text(page, selector, text):
    page.wait_for_function(
        "([selector, text]) => document.querySelector(selector)?.innerText.includes(text)", arg=[selector, text]
    )


def wait_for_number(page, name, value):
    """Until the number of the slider ``name`` is there, and is the given text."""
    page.wait_for_function(
        "([selector, value]) => document.querySelector(selector)?.value === value",
        arg=[f"#{name} input[type=number]", value],
    )


def wait_for_another_picture(page, selector, before):
    """Until there is a picture whose source is not ``before``."""
    page.wait_for_function(
        "([selector, before]) => (document.querySelector(selector)?.src ?? before) !== before", arg=[selector, before]
    )


def upload(page, file):
    page.set_input_files("#photo input[type=file]", file)


def upload_astronaut(page):
    """Until the first latent is there; the chosen preset refines it afterwards."""
    upload(page, str(demo_photo()))
    wait_until_ready(page)


def wait_until_ready(page):
    page.wait_for_function("document.querySelector('#quick-smile')?.disabled === false")


def wait_until_done(page):
    wait_for_text(page, "#status", "Done")


def choose_quality(page, preset="fast", steps=None):
    """Before a photo: how it is inverted, so that a test does not take a minute."""
    page.get_by_role("button", name="Quality").click()
    page.locator(f"#preset input[value={preset}]").check()
    if steps is not None:
        box = page.get_by_label("Steps of the optimiser", exact=False).first
        box.fill(str(steps))
        box.press("Tab")


def error_text(page):
    """What the status line says, once it says an error."""
    page.wait_for_selector("#status .error")
    return page.inner_text("#status")


def toast_text(page):
    """What Gradio's own error message says, once there is one."""
    page.wait_for_selector(".toast-body")
    return page.inner_text(".toast-body")


def open_tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()


def keep_random_face(page):
    """Keep the face that the Explore tab shows."""
    page.click("#explore-keep")
    caption = page.inner_text("#explore-picture figcaption")
    wait_for_text(page, "#explore-kept", caption)


def overflow(page):
    """How many pixels the page is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
