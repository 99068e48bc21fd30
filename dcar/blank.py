"""The image without content that token weights are measured against."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

Blank: TypeAlias = Literal["white", "black", "grey", "noise"]

SIDE = 224
"""Width and height in pixels; the backbone's preprocessing makes its own size of it."""


def blank_image(kind: Blank) -> Image.Image:
    """A white, black or grey image, or Gaussian noise around grey (always the same)."""
    if kind == "noise":
        drawn = np.random.default_rng(0).normal(127.5, 64.0, (SIDE, SIDE, 3))
        return Image.fromarray(drawn.clip(0, 255).astype(np.uint8))
    return Image.new(
        "RGB", (SIDE, SIDE), {"white": "white", "black": "black", "grey": "#808080"}[kind]
    )
