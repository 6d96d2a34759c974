"""A contact sheet shows each direction's faces from weak to strong, beside its name."""

import numpy as np
import pytest
import torch
from PIL import Image

from editing.directions.direction import Direction
from editing.directions.sheets import HEADER_HEIGHT, LABEL_WIDTH, LEAST_CELL, contact_sheet, even_strengths, write_sheet
from relatent.core.errors import UsageError
from stylegan import network_id


@pytest.fixture
def directions(tiny_generator):
    vectors = torch.eye(tiny_generator.w_dim)[:2] * 3
    return [Direction(vector, f"axis {k}", network_id(tiny_generator)) for k, vector in enumerate(vectors)]


def cell(sheet, row, column, side=LEAST_CELL):
    top, left = HEADER_HEIGHT + row * side, LABEL_WIDTH + column * side
    return sheet[top : top + side, left : left + side]


def test_every_direction_has_a_row_for_each_face_and_a_column_for_each_strength(tiny_generator, directions):
    sheet = contact_sheet(tiny_generator, directions, strengths=(-1, 0, 1), faces=2)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (HEADER_HEIGHT + 4 * LEAST_CELL, LABEL_WIDTH + 3 * LEAST_CELL, 3)
    for face in range(2):  # strength 0 is the same face whatever the direction
        assert np.array_equal(cell(sheet, face, 1), cell(sheet, 2 + face, 1))
        assert not np.array_equal(cell(sheet, face, 2), cell(sheet, 2 + face, 2))
    assert not np.array_equal(cell(sheet, 0, 1), cell(sheet, 1, 1))


def test_a_cell_shows_the_face_moved_by_its_strength(tiny_generator, directions):
    sheet = contact_sheet(tiny_generator, directions[:1], strengths=(2,), faces=1, seed=4, psi=0.5)
    w = tiny_generator.w_avg.lerp(tiny_generator.sample_w(1, 4), 0.5)
    ws = directions[0].apply(w[:, None].repeat(1, tiny_generator.num_ws, 1), 2.0)
    from relatent.core.images import to_pixels

    drawn = Image.fromarray(to_pixels(tiny_generator.synthesis(ws))[0])
    drawn = drawn.resize((LEAST_CELL, LEAST_CELL), Image.Resampling.LANCZOS)
    assert np.abs(cell(sheet, 0, 0).astype(int) - np.array(drawn)).max() <= 1


def test_labels_and_strengths_are_written(tiny_generator, directions):
    sheet = contact_sheet(tiny_generator, directions, strengths=(-1, 1), faces=1)
    blank = contact_sheet(tiny_generator, directions, strengths=(-1, 1), faces=1, labels=["", ""])
    assert (sheet[HEADER_HEIGHT:, :LABEL_WIDTH] < 128).any()
    assert (blank[HEADER_HEIGHT:, :LABEL_WIDTH] == 255).all()
    assert (blank[:HEADER_HEIGHT, LABEL_WIDTH:] < 128).any()


def test_foreign_directions_and_impossible_sizes_are_refused(tiny_generator, directions):
    with pytest.raises(UsageError, match="belongs to the network"):
        contact_sheet(tiny_generator, [directions[0].replace(network="other@0123456789ab")])
    with pytest.raises(UsageError, match="0 pictures"):
        contact_sheet(tiny_generator, [])
    with pytest.raises(UsageError, match="expected 1 to"):
        contact_sheet(tiny_generator, directions, faces=10_000)


def test_the_file_says_that_a_network_made_it(tiny_generator, directions, tmp_path):
    write_sheet(tmp_path / "deep" / "sheet.png", tiny_generator, directions, strengths=(0, 1), faces=1)
    data = (tmp_path / "deep" / "sheet.png").read_bytes()
    assert b"rainedAlgorithmicMedia" in data
    with Image.open(tmp_path / "deep" / "sheet.png") as sheet:
        assert sheet.size == (LABEL_WIDTH + 128, HEADER_HEIGHT + 128)


def test_numbers_beyond_what_a_picture_can_show_are_refused(tiny_generator, directions):
    with pytest.raises(UsageError, match=r"the truncation is 1e\+39; expected a number from -100 to 100"):
        contact_sheet(tiny_generator, directions, psi=1e39)
    with pytest.raises(UsageError, match=r"the sheet is 1e\+39; expected a number from -1000 to 1000"):
        even_strengths(1e39)
