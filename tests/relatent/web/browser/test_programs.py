"""The page as a program meets it: the three calls of docs/page.md, by gradio_client against a running server."""

from __future__ import annotations

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from inversion import Inversion
from inversion.project import demo_photo
from relatent.core.images import read_photo
from stylegan import load
from weights.embedded import DEFAULT_NETWORK


@pytest.fixture(scope="module")
def page(server, tmp_path_factory):
    patient = {"timeout": 240}  # s; a busy machine takes longer than the client's usual 5
    folder = tmp_path_factory.mktemp("programs")
    client = Client(server.address, verbose=False, download_files=folder, httpx_kwargs=patient)
    yield client
    client.close()


@pytest.fixture(scope="module")
def inverted(page):
    """Face, inversion, latent and measures of the demo's photo, after a few steps."""
    return page.predict(handle_file(demo_photo()), num_steps=5, api_name="/invert")


def saved_ws(path):
    with np.load(path) as arrays:
        return arrays["w"]


def test_invert(inverted):
    face, inversion, latent, facts = inverted
    assert read_photo(face).pixels.shape == (load(DEFAULT_NETWORK).resolution,) * 2 + (3,)
    assert saved_ws(latent).shape == (1, load(DEFAULT_NETWORK).num_ws, 256)
    found = Inversion.load(inversion)
    assert found.face_to_photo is not None
    assert np.array_equal(saved_ws(latent), found.ws.numpy())
    assert {"lpips", "psnr"} <= facts.keys()


def test_edit_gives_the_whole_photo_and_does_what_python_does(page, inverted):
    from editing import edit
    from editing.photo_faces import at_photo

    face, photo, inversion, latent = page.predict(
        handle_file(inverted[1]), {"smile": 2, "age": -1}, handle_file(demo_photo()), api_name="/edit"
    )
    assert read_photo(photo).pixels.shape == read_photo(demo_photo()).pixels.shape
    wanted = edit(Inversion.load(inverted[1]), smile=2, age=-1)
    np.testing.assert_allclose(saved_ws(latent), wanted.ws.numpy(), atol=1e-5)
    assert Inversion.load(inversion).edits == wanted.edits
    at_its_resolution = np.array(at_photo(wanted, wanted.open_network()), float)
    assert np.abs(read_photo(face).pixels.astype(float) - at_its_resolution).max() <= 1


def test_edit_without_a_photo(page, inverted):
    _, photo, _, _ = page.predict(handle_file(inverted[1]), {"smile": 1}, None, api_name="/edit")
    assert photo is None


def test_mix(page, inverted):
    _, _, edited, _ = page.predict(handle_file(inverted[1]), {"yaw": 2}, None, api_name="/edit")
    files = [handle_file(inverted[1]), handle_file(edited)]
    _, photo, mixed, _ = page.predict(files, ["coarse"], [1.0], None, api_name="/mix")
    assert photo is None
    first, second, ws = (Inversion.load(file).ws for file in (inverted[1], edited, mixed))
    assert np.allclose(ws[:, :3], second[:, :3], atol=1e-6)  # 4 and 8 px
    assert np.allclose(ws[:, 3:], first[:, 3:], atol=1e-6)


def test_errors_are_the_command_lines(page, inverted, tmp_path):
    Image.new("RGB", (90, 60), "green").save(tmp_path / "meadow.png")
    with pytest.raises(AppError, match=r"no face found in meadow\.png \(90 x 60\)"):
        page.predict(handle_file(tmp_path / "meadow.png"), api_name="/invert")
    with pytest.raises(AppError, match="unknown direction"):
        page.predict(handle_file(inverted[1]), {"smlie": 1}, None, api_name="/edit")
