"""Photos to paste into: validation faces enlarged into a photo's place, and photographs that dependencies ship."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from inversion import Inversion, invert_images
from inversion.project import demo_photo
from relatent.core.images import read_photo, to_tensor
from relatent.face import align_face, find_faces
from relatent.face.crop import cut_crop
from relatent.face.sampling import square_matrix
from relatent.face.warp import face_in_photo
from stylegan.networks.generator import Generator
from stylegan.training.data.dataset import ImageDataset

FACE_SIDE = 128  # px of the validation faces
SHOWN_SIDE = 384  # px they are enlarged to: a face in a photo of some megapixels
SURROUNDINGS = SHOWN_SIDE // 4  # px around it, mirrored
SHARPENED, GRAIN = 0.5, 4.0  # what an enlarged picture lacks of a photo: edges, and levels of noise


@dataclass(frozen=True)
class Case:
    """A photo with a face that was inverted.

    Attributes:
        name: the photo's.
        photo: uint8 [H, W, 3].
        inversion: knows its place in it.
        landmarks: [68, 2] of the photo's face in pixels of the drawn one.
    """

    name: str
    photo: np.ndarray
    inversion: Inversion
    landmarks: np.ndarray


def load_cases(
    faces: Path, numbers: list[int], network: Generator, kept: Path | None = None, num_steps: int | None = None
) -> list[Case]:
    """The dependencies' photographs, and some validation faces.

    Args:
        faces: zip file with val/.
        numbers: which of its faces.
        network: inverts them.
        kept: a folder where inversions are kept, to spare making them again.
        num_steps: of each inversion; None for the preset's own.
    """
    dataset = ImageDataset(faces, FACE_SIDE, "val")
    photos = {path.stem: read_photo(path).pixels for path in shipped_photographs()}
    places = {name: _place(photo, network) for name, photo in photos.items()}
    for number in numbers:
        name = f"val-{number:05d}"
        photos[name] = enlarged_face(dataset.picture(number), seed=number)
        middle = SURROUNDINGS + (SHOWN_SIDE - 1) / 2
        places[name] = square_matrix(np.array([middle] * 2), np.array([SHOWN_SIDE / 2, 0.0]), network.resolution)
    cases = []
    for name, photo in photos.items():
        inversion = _inverted(photo, places[name], network, kept and kept / f"{name}.safetensors", num_steps)
        points = face_in_photo(photo, places[name], network.resolution, network.alignment)
        cases.append(Case(name, photo, inversion.replace(photo=name), points))
    return cases


def shipped_photographs() -> list[Path]:
    """The astronaut of scikit-image, and Grace Hopper where matplotlib is installed."""
    found = [demo_photo()]
    spec = importlib.util.find_spec("matplotlib")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        found += [path for path in [Path(folder) / "mpl-data/sample_data/grace_hopper.jpg"] if path.is_file()]
    return found


def enlarged_face(face: np.ndarray, seed: int) -> np.ndarray:
    """A small face as a photo would show it large: enlarged, sharpened, with grain, in mirrored surroundings."""
    large = np.asarray(Image.fromarray(face).resize((SHOWN_SIDE,) * 2, Image.Resampling.LANCZOS), np.float32)
    large += SHARPENED * (large - cv2.GaussianBlur(large, (0, 0), 2))
    framed = cv2.copyMakeBorder(large, *[SURROUNDINGS] * 4, cv2.BORDER_REFLECT)
    rng = np.random.default_rng(seed)
    grain = cv2.GaussianBlur(rng.standard_normal((*framed.shape[:2], 1)).astype(np.float32), (0, 0), 0.55)
    return np.rint(framed + GRAIN * (grain / grain.std())[..., None]).clip(0, 255).astype(np.uint8)


def _place(photo: np.ndarray, network: Generator) -> np.ndarray:
    return align_face(photo, find_faces(photo)[0].landmarks, network.alignment, network.resolution).face_to_photo


def _inverted(
    photo: np.ndarray, place: np.ndarray, network: Generator, file: Path | None, num_steps: int | None
) -> Inversion:
    if file is not None and file.is_file():
        return Inversion.load(file).replace(face_to_photo=place)
    crop = cut_crop(photo, place, network.resolution, network.resolution)
    with torch.no_grad():
        image = to_tensor(crop)
    found = invert_images(image, network, num_steps=num_steps)[0].replace(face_to_photo=place)
    if file is not None:
        found.save(file)
    return found
