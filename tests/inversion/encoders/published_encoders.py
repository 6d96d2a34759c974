"""What the encoders of pSp and e4e put out, from the tensors of their files and the papers alone: float64, plain.

IR-SE50 with a pyramid over its last three levels, and a head for each of the generator's layers (Richardson et al.
2021, figure 2); of e4e the heads after the first give offsets (Tov et al. 2021, section 4.1).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

DEPTHS = (3, 4, 14, 3)  # blocks of each stage, whose first one halves the picture


class Published:
    """Draws on a checkpoint's tensors by their names there."""

    def __init__(self, state):
        self.state = state

    def __getitem__(self, name):
        return self.state[f"encoder.{name}"].double()

    def norm(self, name, x):
        mean, variance, weight, bias = (
            self[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(variance + 1e-5) * weight + bias

    def slope(self, name, x):
        return torch.where(x > 0, x, x * self[f"{name}.weight"][:, None, None])

    def block(self, number, x, stride):
        body = f"body.{number}"
        shortcut = x[:, :, ::stride, ::stride]
        if f"encoder.{body}.shortcut_layer.0.weight" in self.state:
            shortcut = self.norm(
                f"{body}.shortcut_layer.1", F.conv2d(shortcut, self[f"{body}.shortcut_layer.0.weight"])
            )
        x = F.conv2d(self.norm(f"{body}.res_layer.0", x), self[f"{body}.res_layer.1.weight"], padding=1)
        x = self.slope(f"{body}.res_layer.2", x)
        x = self.norm(f"{body}.res_layer.4", F.conv2d(x, self[f"{body}.res_layer.3.weight"], stride=stride, padding=1))
        squeezed = F.relu(F.conv2d(x.mean(dim=(2, 3), keepdim=True), self[f"{body}.res_layer.5.fc1.weight"]))
        return x * torch.sigmoid(F.conv2d(squeezed, self[f"{body}.res_layer.5.fc2.weight"])) + shortcut

    def levels(self, image):
        """The coarse, the middle and the fine level of the pyramid."""
        x = self.norm("input_layer.1", F.conv2d(image.double(), self["input_layer.0.weight"], padding=1))
        x, ends = self.slope("input_layer.2", x), []
        number = 0
        for depth in DEPTHS:
            for index in range(depth):
                x = self.block(number, x, stride=1 if index else 2)
                number += 1
            ends.append(x)
        found = [ends[3]]
        for name, level in (("latlayer1", ends[2]), ("latlayer2", ends[1])):
            level = F.conv2d(level, self[f"{name}.weight"], self[f"{name}.bias"])
            found.append(level + F.interpolate(found[-1], size=level.shape[2:], mode="bilinear", align_corners=True))
        return found

    def head(self, layer, levels):
        x, index = levels[0 if layer < 3 else 1 if layer < 7 else 2], 0
        while f"encoder.styles.{layer}.convs.{index}.weight" in self.state:
            weight, bias = self[f"styles.{layer}.convs.{index}.weight"], self[f"styles.{layer}.convs.{index}.bias"]
            x = F.leaky_relu(F.conv2d(x, weight, bias, stride=2, padding=1), 0.01)
            index += 2
        weight = self[f"styles.{layer}.linear.weight"] / math.sqrt(512)
        return x.flatten(1) @ weight.T + self[f"styles.{layer}.linear.bias"]

    def codes(self, image, num_ws):
        """[N, 3, S, S] to what pSp and e4e put out, [N, num_ws, 512] each."""
        levels = self.levels(image)
        heads = [self.head(layer, levels) for layer in range(num_ws)]
        offsets = [heads[0] + head for head in heads[1:]]
        return torch.stack(heads, dim=1), torch.stack([heads[0], *offsets], dim=1)
