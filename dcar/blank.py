"""The image without content that token weights are measured against."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

Blank: TypeAlias = Literal["white", "black", "grey", "noise"]

SIDE = 224
"""Width and height in pixels; the backbone's preprocessing resizes it."""


def blank_image(kind: Blank) -> Image.Image:
    """Return a white, black or gray image, or Gaussian noise around gray (always the same)."""
    if kind == "noise":
        noise = np.random.default_rng(0).normal(127.5, 64.0, (SIDE, SIDE, 3))
        return Image.fromarray(noise.clip(0, 255).astype(np.uint8))
    color = {"white": "white", "black": "black", "grey": "#808080"}[kind]
    return Image.new("RGB", (SIDE, SIDE), color)
