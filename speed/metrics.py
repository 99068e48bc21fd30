"""Compare the streamed ranking with a dense script on a large split.

    python speed/metrics.py [IMAGES CAPTIONS_PER_IMAGE]

Each runs in a process of its own. The dense script holds the full score matrix and computes recalls and MRR alone;
fdrd adds the second relevance, category ranks and mean average precision.
"""

from __future__ import annotations

import sys
import tempfile
import time

import numpy as np
import torch
from harness import own_bytes, run_python
from torch.nn.functional import normalize

from benchmark.evaluation.ranking import rank
from benchmark.models.backbone import Features

DIM, CATEGORIES = 512, 100


def split(n_images: int, each: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features of images, and of captions near their image."""
    generator = torch.Generator().manual_seed(0)
    images = normalize(torch.randn(n_images, DIM, generator=generator), dim=1)
    noise = torch.randn(n_images * each, DIM, generator=generator) * 6 / DIM**0.5
    return images, normalize(images.repeat_interleave(each, 0) + noise, dim=1)


def streamed(n_images: int, each: int) -> tuple[float, float]:
    """Return strict R@1 in both directions."""
    images, texts = split(n_images, each)
    rows = np.arange(n_images * each)
    pairs = np.stack([rows // each, rows], axis=1)
    ranks = rank(
        lambda i, t: i.pooled @ t.pooled.T,
        Features(images), Features(texts), pairs, pairs[:, 0] % CATEGORIES,
    )  # fmt: skip
    strict = (ranks.image_to_text.strict, ranks.text_to_image.strict)
    return float(np.mean(strict[0] == 1)), float(np.mean(strict[1] == 1))


def dense(n_images: int, each: int) -> tuple[float, float]:
    """Return the same from one matrix, like most scripts."""
    images, texts = split(n_images, each)
    scores = images @ texts.T
    owner = torch.arange(n_images * each) // each
    own = owner == torch.arange(n_images).unsqueeze(1)
    best = scores.masked_fill(~own, -2).amax(dim=1, keepdim=True)
    to_text = 1 + ((scores >= best) & ~own).sum(dim=1)
    mine = scores[owner, torch.arange(n_images * each)]
    to_image = 1 + ((scores >= mine) & ~own).sum(dim=0)
    for ranks in (to_text, to_image):
        [float((ranks <= k).float().mean()) for k in (5, 10)]
        float((1 / ranks).mean())
    return float((to_text == 1).float().mean()), float((to_image == 1).float().mean())


def main() -> None:
    """Run both, or the one that is named."""
    if len(sys.argv) == 4:
        start = time.monotonic()
        recalls = {"fdrd": streamed, "dense": dense}[sys.argv[3]](*map(int, sys.argv[1:3]))
        print(f"{time.monotonic() - start} {own_bytes('VmHWM') / 1e9} {recalls[0]} {recalls[1]}")
        return
    sizes = sys.argv[1:3] or ["5000", "5"]
    print(f"{sizes[0]} images x {int(sizes[0]) * int(sizes[1])} captions, {DIM} wide")
    seconds = {}
    for name in ("dense", "fdrd"):
        with tempfile.TemporaryDirectory() as cache:
            numbers = run_python([__file__, *sizes, name], cache).stdout.split()
        seconds[name], peak, *recalls = map(float, numbers)
        print(
            f"{name:6} {seconds[name]:6.2f} s  {peak:5.2f} GB  R@1 {recalls[0]:.4f} {recalls[1]:.4f}"
        )
    print(f"fdrd / dense: {seconds['fdrd'] / seconds['dense']:.2f}")


if __name__ == "__main__":
    main()
