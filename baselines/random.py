"""Random vectors that depend only on content and seed: the floor of every table.

After mteb's random baseline. It shows which scores a gallery gives away for free.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from baselines.zero_shot import ZeroShot
from benchmark import method
from benchmark.models.image_batches import digests
from benchmark.models.plain_encoder import PlainEncoder


@method("random", role="floor", trains="nothing")
def random(*, dim: int = 512, seed: int = 0) -> ZeroShot:
    """Score random vectors, the floor of the table; needs no backbone.

    Args:
        dim: length of the vectors.
    """

    def draw(contents: Iterable[str]) -> Tensor:
        rows = []
        for content in contents:
            digest = hashlib.sha256(f"{seed} {content}".encode()).digest()
            generator = np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))
            rows.append(generator.standard_normal(dim, dtype=np.float32))
        return torch.from_numpy(np.stack(rows))

    encoder = PlainEncoder(
        lambda images: draw(f"image {digest}" for digest in digests(images)),
        lambda captions: draw(f"text {caption}" for caption in captions),
        name="random",
        fingerprint="",
        dim=dim,
    )
    return ZeroShot(encoder)
