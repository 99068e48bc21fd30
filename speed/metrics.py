"""Compare the streamed ranking with one matrix product and with a dense script, on a large split.

    python speed/metrics.py [IMAGES CAPTIONS_PER_IMAGE]

Each runs in a process of its own. The dense script holds the full score matrix and computes strict ranks alone; fdrd
adds the second relevance, expected recalls and the category of the first item. The features are small integers, whose
products are exact, so that all ranks must be equal.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time

import numpy as np
import torch
from harness import own_bytes, run_python

from benchmark.evaluation.ranking import rank
from benchmark.models.backbone import Features

DIM, CATEGORIES = 512, 100


def split(n_images: int, each: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features of images, and of captions near their image."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(-8, 9, (n_images, DIM), generator=generator)
    noise = torch.randint(-24, 25, (n_images * each, DIM), generator=generator)
    return images.float(), (images.repeat_interleave(each, 0) + noise).float()


def product(images: torch.Tensor, texts: torch.Tensor) -> tuple[np.ndarray, ...]:
    """Compute the scores in blocks of rows, and keep none."""
    for rows in images.split(2048):
        rows @ texts.T
    return ()


def streamed(images: torch.Tensor, texts: torch.Tensor) -> tuple[np.ndarray, ...]:
    """Return the strict ranks of both directions."""
    rows = np.arange(len(texts))
    pairs = np.stack([rows // (len(texts) // len(images)), rows], axis=1)
    categories = pairs[:, 0] % CATEGORIES
    queries, items = Features(images), Features(texts)
    ranks = rank(lambda i, t: i.pooled @ t.pooled.T, queries, items, pairs, categories)
    return ranks.image_to_text.strict, ranks.text_to_image.strict


def dense(images: torch.Tensor, texts: torch.Tensor) -> tuple[np.ndarray, ...]:
    """Return the same from one matrix, like most scripts."""
    scores = images @ texts.T
    rows = torch.arange(len(texts))
    owner = rows // (len(texts) // len(images))
    relevant = scores[owner, rows]
    of_image = relevant.view(len(images), -1)
    best = of_image.amax(dim=1, keepdim=True)
    to_text = 1 + (scores >= best).sum(dim=1) - (of_image == best).sum(dim=1)
    to_image = (scores >= relevant).sum(dim=0)
    return to_text.numpy(), to_image.numpy()


def main() -> None:
    """Run all three, or the one that is named."""
    if len(sys.argv) == 4:
        features = split(*map(int, sys.argv[1:3]))
        start = time.monotonic()
        ranks = {"product": product, "dense": dense, "fdrd": streamed}[sys.argv[3]](*features)
        seconds = time.monotonic() - start
        digest = hashlib.sha256(b"".join(each.astype(np.int64).tobytes() for each in ranks))
        print(f"{seconds} {own_bytes('VmHWM') / 1e9} {digest.hexdigest()[:16]}")
        return
    sizes = sys.argv[1:3] or ["5000", "5"]
    print(f"{sizes[0]} images x {int(sizes[0]) * int(sizes[1])} captions, {DIM} wide")
    seconds, digests = {}, {}
    for name in ("product", "dense", "fdrd"):
        with tempfile.TemporaryDirectory() as cache:
            values = run_python([__file__, *sizes, name], cache).stdout.split()
        seconds[name], peak = map(float, values[:2])
        digests[name] = values[2]
        print(f"{name:7} {seconds[name]:6.2f} s  {peak:5.2f} GB")
    equal = "equal" if digests["fdrd"] == digests["dense"] else "DIFFERENT"
    print(f"fdrd / product: {seconds['fdrd'] / seconds['product']:.2f}")
    print(f"fdrd / dense: {seconds['fdrd'] / seconds['dense']:.2f}, all ranks {equal}")


if __name__ == "__main__":
    main()
