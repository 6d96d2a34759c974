import numpy as np
import pytest
import torch

from editing.mixing import mix
from editing.seeds import seed_inversion
from relatent.core.errors import Cancelled, UsageError
from relatent.core.images import to_pixels
from relatent.web.actions.mix import Source, grid_picture, mixed, write_faces_morph
from relatent.web.pictures import smooth


@pytest.fixture
def faces(tiny_generator):
    return [seed_inversion(tiny_generator, seed) for seed in (1, 2, 3)]


def enlarged(inversion, network, side):
    return smooth(to_pixels(inversion.tensor(network))[0], side).astype(int)


def test_switches_choose_layers(faces):
    me, you, her = faces
    found = mixed(me, [Source(you, ("coarse",)), Source(her, ("middle",), 0.5), Source(her, ())])
    assert torch.equal(found.ws, mix(me, [you, her], ["coarse", "middle"], [1.0, 0.5]).ws)
    both = mixed(me, [Source(you, ("coarse", "middle"))])
    assert torch.equal(both.ws, you.ws)  # the tiny network has no fine layers


def test_nothing_switched_on_says_so(faces):
    with pytest.raises(UsageError, match="no styles were switched on"):
        mixed(faces[0], [Source(faces[1], ())])
    with pytest.raises(UsageError, match="no styles were switched on"):
        mixed(faces[0], [])


def test_grid_shows_every_face_with_every_other(faces, tiny_generator):
    picture = np.asarray(grid_picture(faces, tiny_generator, ["coarse"])).astype(int)
    side = 128
    assert picture.shape == (4 * side, 4 * side, 3)
    cells = picture.reshape(4, side, 4, side, 3).swapaxes(1, 2)  # [row, column, 128, 128, 3]
    assert (cells[0, 0] == 255).all()
    for number, face in enumerate(faces, start=1):
        for place in ((0, number), (number, 0), (number, number)):
            assert np.abs(cells[place] - enlarged(face, tiny_generator, side)).max() <= 1
    assert np.abs(cells[1, 3] - enlarged(mix(faces[0], faces[2], "coarse"), tiny_generator, side)).max() <= 1


def test_grids_have_an_end(faces, tiny_generator):
    for count in (1, 7):
        with pytest.raises(UsageError, match=f"{count} faces came for a grid; expected 2 to 6"):
            grid_picture((faces * 3)[:count], tiny_generator, ["coarse"])
    with pytest.raises(UsageError, match="no styles"):
        grid_picture(faces, tiny_generator, [])


def test_morph_goes_through_the_faces_and_tells_how_far_it_is(faces, tiny_generator, tmp_path):
    import imageio.v3 as imageio

    seen = []
    write_faces_morph(faces, tmp_path / "x.gif", tiny_generator, frames=5, progress=lambda *step: seen.append(step))
    assert seen == [(number, 5) for number in range(1, 6)]
    frames = imageio.imread(tmp_path / "x.gif").astype(int)
    assert len(frames) == 5
    for frame, face in ((0, faces[0]), (2, faces[1]), (4, faces[2])):
        wanted = enlarged(face, tiny_generator, 256)
        assert np.abs(frames[frame][..., :3] - wanted).mean() < 8  # a .gif's 256 colours


def test_morph_can_be_cancelled(faces, tiny_generator, tmp_path):
    with pytest.raises(Cancelled):
        write_faces_morph(faces, tmp_path / "x.gif", tiny_generator, progress=lambda done, _: done < 2)
    assert list(tmp_path.iterdir()) == []


def test_morphs_have_an_end(faces, tiny_generator, tmp_path):
    with pytest.raises(UsageError, match="2 to 300"):
        write_faces_morph(faces, tmp_path / "x.gif", tiny_generator, frames=301)
