"""Networks of others, small and random, under the names that their authors' code gives: what they hold, what they draw.

Names, shapes and arithmetic are written down here from the papers and the published layouts, apart from the code that
reads such files: float64 and, where it is StyleGAN2, the plain loops of reference.py.
"""

from __future__ import annotations

import math

import numpy as np
import reference
import torch
import torch.nn.functional as F

SQRT2 = math.sqrt(2)
TAPS = torch.outer(torch.tensor([1.0, 3.0, 3.0, 1.0]), torch.tensor([1.0, 3.0, 3.0, 1.0]))


class Random:
    """Tensors one after the other, the same for the same seed."""

    def __init__(self, seed=0):
        self.rng = torch.Generator().manual_seed(seed)

    def __call__(self, *shape, scale=1.0, mean=0.0):
        return mean + scale * torch.randn(shape, generator=self.rng)


def nvidia_stylegan2(channels=((4, 4), (8, 3)), z_dim=6, w_dim=5, c_dim=0, colours=3, rate=0.01, noise=True):
    """The tensors of stylegan2-ada-pytorch's generator."""
    r, state, previous = Random(), {}, 0
    for size, width in channels:
        block = f"synthesis.b{size}"
        state[f"{block}.resample_filter"] = TAPS / 64
        if not previous:
            state[f"{block}.const"] = r(width, size, size)
        convs = [("conv0", previous, width)] if previous else []
        for name, narrow, wide in [*convs, ("conv1", width, width)]:
            layer = f"{block}.{name}"
            state |= {f"{layer}.weight": r(wide, narrow, 3, 3), f"{layer}.bias": r(wide, scale=0.3)}
            state |= {f"{layer}.affine.weight": r(narrow, w_dim), f"{layer}.affine.bias": r(narrow, scale=0.2, mean=1)}
            state[f"{layer}.resample_filter"] = TAPS / 64
            if noise:
                state |= {f"{layer}.noise_const": r(size, size), f"{layer}.noise_strength": r(scale=0.5)}
        layer = f"{block}.torgb"
        state |= {f"{layer}.weight": r(colours, width, 1, 1), f"{layer}.bias": r(colours, scale=0.3)}
        state |= {f"{layer}.affine.weight": r(width, w_dim), f"{layer}.affine.bias": r(width, scale=0.2, mean=1)}
        previous = width
    return state | mapping(r, z_dim, w_dim, c_dim, rate)


def mapping(r, z_dim, w_dim, c_dim=0, rate=0.01):
    """The tensors of NVIDIA's mapping network with two layers."""
    state = {"mapping.w_avg": r(w_dim, scale=0.3)}
    if c_dim:
        state |= {"mapping.embed.weight": r(w_dim, c_dim), "mapping.embed.bias": r(w_dim, scale=0.2)}
    for index, width in enumerate((z_dim + (w_dim if c_dim else 0), w_dim)):
        state[f"mapping.fc{index}.weight"] = r(w_dim, width, scale=1 / rate)
        state[f"mapping.fc{index}.bias"] = r(w_dim, scale=0.2 / rate)
    return state


def rosinality_stylegan2(channels=((4, 4), (8, 3)), w_dim=5, rate=0.01):
    """The tensors of rosinality's stylegan2-pytorch generator, without latent_avg."""
    r, state, previous, count = Random(1), {}, 0, 0
    for index in (1, 2):
        state[f"style.{index}.weight"] = r(w_dim, w_dim, scale=1 / rate)
        state[f"style.{index}.bias"] = r(w_dim, scale=0.2 / rate)
    for level, (size, width) in enumerate(channels):
        if not previous:
            state["input.input"] = r(1, width, size, size)
        for narrow in (previous, width) if previous else (width,):
            name = f"convs.{count - 1}" if count else "conv1"
            state |= rosinality_convolution(r, name, width, narrow, w_dim, 3)
            state |= {f"{name}.activate.bias": r(width, scale=0.3), f"{name}.noise.weight": r(1, scale=0.5)}
            state[f"noises.noise_{count}"] = r(1, 1, size, size)
            if narrow == previous and level:
                state[f"{name}.conv.blur.kernel"] = TAPS / 16
            count += 1
        name = f"to_rgbs.{level - 1}" if level else "to_rgb1"
        state |= rosinality_convolution(r, name, 3, width, w_dim, 1) | {f"{name}.bias": r(1, 3, 1, 1, scale=0.3)}
        if level:
            state[f"{name}.upsample.kernel"] = TAPS / 16
        previous = width
    return state


def rosinality_convolution(r, name, wide, narrow, w_dim, kernel):
    return {
        f"{name}.conv.weight": r(1, wide, narrow, kernel, kernel),
        f"{name}.conv.modulation.weight": r(narrow, w_dim),
        f"{name}.conv.modulation.bias": r(narrow, scale=0.2, mean=1),
    }


def renamed(theirs, channels=((4, 4), (8, 3))):
    """rosinality's tensors under NVIDIA's names, for one reference to draw both."""
    state = {f"mapping.fc{i}.{p}": theirs[f"style.{i + 1}.{p}"] for i in (0, 1) for p in ("weight", "bias")}
    count = 0
    for level, (size, _) in enumerate(channels):
        block = f"synthesis.b{size}"
        if not level:
            state[f"{block}.const"] = theirs["input.input"][0]
        for name in ("conv0", "conv1") if level else ("conv1",):
            source, layer = f"convs.{count - 1}" if count else "conv1", f"{block}.{name}"
            state |= {f"{layer}.weight": theirs[f"{source}.conv.weight"][0]}
            state |= {f"{layer}.affine.{p}": theirs[f"{source}.conv.modulation.{p}"] for p in ("weight", "bias")}
            state[f"{layer}.bias"] = theirs[f"{source}.activate.bias"]
            state[f"{layer}.noise_strength"] = theirs[f"{source}.noise.weight"][0]
            state[f"{layer}.noise_const"] = theirs[f"noises.noise_{count}"][0, 0]
            count += 1
        source, layer = f"to_rgbs.{level - 1}" if level else "to_rgb1", f"{block}.torgb"
        state |= {f"{layer}.weight": theirs[f"{source}.conv.weight"][0]}
        state |= {f"{layer}.affine.{p}": theirs[f"{source}.conv.modulation.{p}"] for p in ("weight", "bias")}
        state[f"{layer}.bias"] = theirs[f"{source}.bias"].flatten()
    return state


def map_z(state, z, c=None, rate=0.01):
    """z [N, z_dim] to w [N, w_dim]: the mapping network as NVIDIA's code has it."""
    p = {name: value.double().numpy() for name, value in state.items()}
    x = reference.second_moment_normalised(z.double().numpy())
    if c is not None:
        y = c.double().numpy() @ p["mapping.embed.weight"].T / math.sqrt(c.shape[1]) + p["mapping.embed.bias"]
        x = np.concatenate([x, reference.second_moment_normalised(y)], axis=1)
    for index in (0, 1):
        weight = p[f"mapping.fc{index}.weight"] * rate / math.sqrt(x.shape[1])
        x = reference.leaky_relu(x @ weight.T + p[f"mapping.fc{index}.bias"] * rate, SQRT2)
    return torch.from_numpy(x)


def draw_stylegan2(state, ws, *, noise=True, clamp=None):
    """ws [N, L, w_dim] to pictures, as StyleGAN2's paper and NVIDIA's code have it; the tensors by NVIDIA's names."""
    p, ws = {name: value.double().numpy() for name, value in state.items()}, ws.double().numpy()
    sizes = sorted({int(name.split(".")[1][1:]) for name in p if name.startswith("synthesis.b")})
    x = np.repeat(p["synthesis.b4.const"][None], len(ws), axis=0)
    image, number = None, 0

    def styles(layer, w):
        return w @ p[f"{layer}.affine.weight"].T / math.sqrt(w.shape[1]) + p[f"{layer}.affine.bias"]

    for size in sizes:
        for name in ("conv0", "conv1"):
            layer = f"synthesis.b{size}.{name}"
            if f"{layer}.weight" not in p:
                continue
            x = reference.modulated_convolution(x, p[f"{layer}.weight"], styles(layer, ws[:, number]), name == "conv0")
            if noise and f"{layer}.noise_const" in p:
                x = x + p[f"{layer}.noise_const"] * p[f"{layer}.noise_strength"]
            x = reference.leaky_relu(x + p[f"{layer}.bias"][:, None, None], SQRT2, clamp)
            number += 1
        layer = f"synthesis.b{size}.torgb"
        weight = p[f"{layer}.weight"][:, :, 0, 0]
        own = styles(layer, ws[:, number]) / math.sqrt(weight.shape[1])
        rgb = np.einsum("oi,ni,nihw->nohw", weight, own, x) + p[f"{layer}.bias"][:, None, None]
        image = rgb if image is None else np.stack([reference.upsample(one) for one in image]) + rgb
    return torch.from_numpy(image)


SMOOTH = {"resolution": 16, "num_layers": 4, "num_critical": 2, "margin": 10, "kernel": 3, "radial": False}


def bands(resolution=16, num_layers=4, num_critical=2, margin=10, **_):
    """Cutoffs, rates, half-widths and sizes of StyleGAN3's layers, by the formulas of its code."""
    last, stop, found = resolution / 2, resolution / 2 * 2**0.3, []
    for index in range(num_layers + 1):
        share = min(index / (num_layers - num_critical), 1)
        cutoff, stopband = 2 * (last / 2) ** share, 2**2.1 * (stop / 2**2.1) ** share
        rate = 2 ** math.ceil(math.log2(min(stopband * 2, resolution)))
        size = resolution if index >= num_layers - 1 else rate + 2 * margin
        found.append((cutoff, rate, max(stopband, rate / 2) - cutoff, size))
    return found


def nvidia_stylegan3(width=5, z_dim=6, w_dim=5, colours=3, **changes):
    """The tensors of stylegan3's generator; every layer has ``width`` channels."""
    from stylegan.networks.alias_free_filters import (  # held to the paper by its own test
        lowpass_filter,
        radial_lowpass_filter,
    )

    config = {**SMOOTH, **changes}
    plan, r = bands(**config), Random(2)
    state = {
        "synthesis.input.weight": r(width, width),
        "synthesis.input.transform": torch.eye(3),
        "synthesis.input.freqs": r(width, 2),
        "synthesis.input.phases": r(width, scale=0.3),
        "synthesis.input.affine.weight": r(4, w_dim, scale=0.1),
        "synthesis.input.affine.bias": torch.tensor([1.0, 0.0, 0.0, 0.0]),
    }
    for index, (cutoff, rate, half_width, size) in enumerate(plan):
        before, last = plan[max(index - 1, 0)], index == config["num_layers"]
        wide, kernel = (colours, 1) if last else (width, config["kernel"])
        layer = f"synthesis.L{index}_{size}_{wide}"
        state |= {f"{layer}.weight": r(wide, width, kernel, kernel), f"{layer}.bias": r(wide, scale=0.3)}
        state |= {f"{layer}.affine.weight": r(width, w_dim), f"{layer}.affine.bias": r(width, scale=0.2, mean=1)}
        state[f"{layer}.magnitude_ema"] = torch.tensor(0.5 + 0.2 * index)
        if not last:
            fast = 2 * max(rate, before[1])
            up = lowpass_filter(6 * fast // before[1], before[0], 2 * before[2], fast)
            radial = config["radial"] and index < config["num_layers"] - config["num_critical"]
            down = (radial_lowpass_filter if radial else lowpass_filter)(6 * fast // rate, cutoff, 2 * half_width, fast)
            state |= {
                f"{layer}.up_filter": torch.tensor(up).float(),
                f"{layer}.down_filter": torch.tensor(down).float(),
            }
    return state | mapping(r, z_dim, w_dim)


def draw_stylegan3(state, ws, **changes):
    """ws [N, L, w_dim] to pictures, each layer as StyleGAN3's paper words it, in the order of NVIDIA's code."""
    p, ws, config = {name: value.double() for name, value in state.items()}, ws.double(), {**SMOOTH, **changes}
    plan = bands(**config)
    names = sorted({name.split(".")[1] for name in p if ".L" in name}, key=lambda name: int(name[1:].split("_")[0]))
    x = waves(p, ws[:, 0], *plan[0])
    for index, (name, (_, rate, _, size)) in enumerate(zip(names, plan, strict=True)):
        layer, last, before = f"synthesis.{name}", index == config["num_layers"], plan[max(index - 1, 0)]
        w, weight = ws[:, index + 1], p[f"{layer}.weight"]
        styles = w @ p[f"{layer}.affine.weight"].T / math.sqrt(w.shape[1]) + p[f"{layer}.affine.bias"]
        if last:
            styles = styles / math.sqrt(weight.shape[1])
        own = weight[None] * styles[:, None, :, None, None]
        if not last:
            own = own / own.square().sum(dim=(2, 3, 4), keepdim=True).sqrt()
        own = own / p[f"{layer}.magnitude_ema"].sqrt()
        kernel = weight.shape[-1]
        x = torch.cat([F.conv2d(one[None], mine, padding=kernel - 1) for one, mine in zip(x, own, strict=True)])
        x = x + p[f"{layer}.bias"][:, None, None]
        if last:
            return x.clamp(-256, 256) * 0.25
        fast = 2 * max(rate, before[1])
        x = filtered(x, p[f"{layer}.up_filter"], p[f"{layer}.down_filter"], fast // before[1], fast // rate, size)
    raise AssertionError("a network without a last layer")


def waves(p, w, cutoff, rate, _, size):
    """The Fourier features of one w each."""
    t = w @ p["synthesis.input.affine.weight"].T / math.sqrt(w.shape[1]) + p["synthesis.input.affine.bias"]
    pictures = []
    for c, s, x, y in (t / t[:, :2].norm(dim=1, keepdim=True)).tolist():
        turn = torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=torch.float64)
        shift = torch.tensor([[1, 0, -x], [0, 1, -y], [0, 0, 1]], dtype=torch.float64)
        placed = turn @ shift @ p["synthesis.input.transform"]
        freqs, phases = p["synthesis.input.freqs"] @ placed[:2, :2], p["synthesis.input.freqs"] @ placed[:2, 2]
        phases = phases + p["synthesis.input.phases"]
        fading = (1 - (freqs.norm(dim=1) - cutoff) / (rate / 2 - cutoff)).clamp(0, 1)
        places = (torch.arange(size, dtype=torch.float64) + 0.5 - size / 2) / rate
        angles = freqs[:, 0, None, None] * places + freqs[:, 1, None, None] * places[:, None] + phases[:, None, None]
        pictures.append(torch.sin(2 * math.pi * angles) * fading[:, None, None])
    weight = p["synthesis.input.weight"]
    return torch.einsum("oi,nihw->nohw", weight / math.sqrt(len(weight)), torch.stack(pictures))


def filtered(x, up_filter, down_filter, up, down, size):
    """Zeros between the samples, a filter, the nonlinearity, a filter, every few samples."""
    spread = x.new_zeros(*x.shape[:2], x.shape[2] * up, x.shape[3] * up)
    spread[:, :, ::up, ::up] = x * up**2
    total = (size - 1) * down + 1 - spread.shape[2] + up_filter.shape[0] + down_filter.shape[0] - 2
    before = (total + up) // 2
    first, second = (taps if taps.ndim == 2 else torch.outer(taps, taps) for taps in (up_filter, down_filter))
    depthwise = [taps.expand(x.shape[1], 1, *taps.shape) for taps in (first, second)]
    x = F.conv2d(F.pad(spread, [before, total - before] * 2), depthwise[0], groups=x.shape[1])
    x = (F.leaky_relu(x, 0.2) * SQRT2).clamp(-256, 256)
    return F.conv2d(x, depthwise[1], stride=down, groups=x.shape[1])
