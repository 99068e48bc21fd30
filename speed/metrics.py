"""The metrics of a large split: time and memory of ours, beside a plain dense implementation.

    python speed/metrics.py [images captions-per-image]

Each runs in a process of its own, one after the other. The dense one holds the full score matrix and
gives recalls and MRR alone; ours adds the second relevance, category ranks and mean average precision.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import numpy as np
import torch
from torch.nn.functional import normalize

from benchmark.evaluation.ranking import rank
from benchmark.models.backbone import Features

DIM, CATEGORIES = 512, 100


def split(n_images: int, each: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of images, and of captions that lie near their image."""
    generator = torch.Generator().manual_seed(0)
    images = normalize(torch.randn(n_images, DIM, generator=generator), dim=1)
    noise = torch.randn(n_images * each, DIM, generator=generator) * 6 / DIM**0.5
    return images, normalize(images.repeat_interleave(each, 0) + noise, dim=1)


def ours(n_images: int, each: int) -> tuple[float, float]:
    """Strict R@1 both ways."""
    images, texts = split(n_images, each)
    rows = np.arange(n_images * each)
    pairs = np.stack([rows // each, rows], axis=1)
    found = rank(
        lambda i, t: i.pooled @ t.pooled.T,
        Features(images),
        Features(texts),
        pairs,
        pairs[:, 0] % CATEGORIES,
    )
    strict = (found.image_to_text.strict, found.text_to_image.strict)
    return float(np.mean(strict[0] == 1)), float(np.mean(strict[1] == 1))


def dense(n_images: int, each: int) -> tuple[float, float]:
    """The same two numbers from one matrix, as most scripts do it."""
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
    """Both, side by side."""
    sizes = sys.argv[1:3] or ["5000", "5"]
    print(f"{sizes[0]} images x {int(sizes[0]) * int(sizes[1])} captions, {DIM} wide")
    seconds = {}
    for name in ("dense", "ours"):
        call = [sys.executable, __file__, *sizes, name]
        said = subprocess.run(call, capture_output=True, text=True, check=True).stdout.split()
        seconds[name] = float(said[0])
        print(f"{name:6} {said[0]:>6} s  {said[1]:>5} GB  R@1 {said[2]} {said[3]}")
    print(f"ours / dense: {seconds['ours'] / seconds['dense']:.2f}")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        started = time.monotonic()
        recall = {"ours": ours, "dense": dense}[sys.argv[3]](int(sys.argv[1]), int(sys.argv[2]))
        took = time.monotonic() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{took:.2f} {peak:.2f} {recall[0]:.4f} {recall[1]:.4f}")
    else:
        main()
