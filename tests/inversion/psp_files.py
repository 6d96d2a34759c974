"""Checkpoints of pSp and e4e as their authors' code writes them, in a few megabytes."""

from __future__ import annotations

import argparse
import itertools
import math

import torch

WIDEST = 512 * 512 * 3 * 3
NORM = ("weight", "bias", "running_mean", "running_var")
E4E = {"encoder_type": "Encoder4Editing", "start_from_latent_avg": True, "stylegan_size": 8, "exp_dir": None}
PSP = {"encoder_type": "GradualStyleEncoder", "start_from_latent_avg": True, "learn_in_w": False, "output_size": 8}


def layout(num_ws):
    """Names and shapes of an encoder's tensors, written down apart from the code that reads them."""
    shapes = {"input_layer.0.weight": (64, 3, 3, 3), **norm("input_layer.1", 64), "input_layer.2.weight": (64,)}
    widths = [64, *[64] * 3, *[128] * 4, *[256] * 14, *[512] * 3]
    for block, (narrow, wide) in enumerate(itertools.pairwise(widths)):
        body = f"body.{block}"
        if narrow != wide:
            shapes |= {f"{body}.shortcut_layer.0.weight": (wide, narrow, 1, 1)}
            shapes |= norm(f"{body}.shortcut_layer.1", wide)
        shapes |= norm(f"{body}.res_layer.0", narrow) | {f"{body}.res_layer.1.weight": (wide, narrow, 3, 3)}
        shapes |= {f"{body}.res_layer.2.weight": (wide,), f"{body}.res_layer.3.weight": (wide, wide, 3, 3)}
        shapes |= norm(f"{body}.res_layer.4", wide)
        shapes[f"{body}.res_layer.5.fc1.weight"] = (wide // 16, wide, 1, 1)
        shapes[f"{body}.res_layer.5.fc2.weight"] = (wide, wide // 16, 1, 1)
    for layer in range(num_ws):
        for conv in range(4 if layer < 3 else 5 if layer < 7 else 6):
            shapes[f"styles.{layer}.convs.{2 * conv}.weight"] = (512, 512, 3, 3)
            shapes[f"styles.{layer}.convs.{2 * conv}.bias"] = (512,)
        shapes |= {f"styles.{layer}.linear.weight": (512, 512), f"styles.{layer}.linear.bias": (512,)}
    for lateral, narrow in (("latlayer1", 256), ("latlayer2", 128)):
        shapes |= {f"{lateral}.weight": (512, narrow, 1, 1), f"{lateral}.bias": (512,)}
    return shapes


def norm(name, channels):
    return {f"{name}.{part}": (channels,) for part in NORM} | {f"{name}.num_batches_tracked": ()}


def encoder_state(num_ws=4, dtype=torch.float32):
    """Random weights of an encoder: every tensor is a view into one of two storages, which keeps files small."""
    rng = torch.Generator().manual_seed(0)
    weights = (0.02 * torch.randn(WIDEST + 512, generator=rng)).to(dtype)
    positive = (0.5 + torch.rand(1024, generator=rng)).to(dtype)
    state = {}
    for number, (name, shape) in enumerate(layout(num_ws).items()):
        count = math.prod(shape)
        if name.endswith("num_batches_tracked"):
            state[f"encoder.{name}"] = torch.tensor(7)
            continue
        is_positive = len(shape) == 1 and name.endswith(("weight", "running_var"))
        start = number % 512  # no two tensors alike
        state[f"encoder.{name}"] = (positive if is_positive else weights)[start : start + count].view(shape)
    return state


def checkpoint(opts, **changes):
    """The whole content of a file for a generator of 8 px; a change to None leaves the entry out."""
    content = {"state_dict": encoder_state(), "latent_avg": average(4), "opts": argparse.Namespace(**opts), **changes}
    return {name: value for name, value in content.items() if value is not None}


def write(path, opts, *, zipped=True, **tensors):
    """Write a file in half precision, with ``tensors`` beside the encoder's; gives its content."""
    content = checkpoint(opts, state_dict={**encoder_state(dtype=torch.float16), **tensors})
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return content


def average(*shape):
    return torch.randn(*shape, 512, generator=torch.Generator().manual_seed(5))
