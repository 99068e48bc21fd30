"""Compare training steps: DCAR with MaPLe, and MaPLe with the bare towers.

    python speed/steps.py data/fdrd --backbone embedded

All share batches, n_ctx and depth, and alternate. Decoded images and the plain features that DCAR needs are cached
before the clock starts, as after the first epochs of a few-shot training; opening and resizing images is a row of its
own. The bare towers are a forward and a backward pass with gradients to their inputs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from benchmark import FrozenFeatures, Prompts, get_method, info_nce, load_backbone
from benchmark.models.image_batches import PixelCache
from benchmark.training.learners import CoupledPrompts
from benchmark.training.loop import Batch, batches
from fdrd.dataset import load_view


def main() -> None:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--n-ctx", type=int, default=4)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=12)
    options = parser.parse_args()
    train = load_view(options.data, "train")
    with tempfile.TemporaryDirectory() as cache:
        backbone = load_backbone(
            options.backbone, allow_code=True, frozen=FrozenFeatures(Path(cache))
        )
        size: dict[str, Any] = {"n_ctx": options.n_ctx, "depth": options.depth}
        maple = get_method("maple")(backbone, **size)
        whole: Any = get_method("dcar")(backbone, **size)
        whole.draw_from(train)
        entering = CoupledPrompts(backbone, options.n_ctx, "", 1, "independent", seed=0)

        def towers(batch: Batch) -> Any:
            prompts = entering()
            seen = backbone.encode_image(batch.images, Prompts(vision=prompts.vision))
            read = backbone.encode_text(batch.captions, Prompts(text=prompts.text))
            return info_nce(backbone.logit_scale * seen.pooled @ read.pooled.T)

        opening = PixelCache(backbone.image_processor, max_bytes=0)
        steps: dict[str, Callable[[Batch], Any]] = {
            "towers": lambda batch: towers(batch).backward(),
            "maple": lambda batch: maple.loss(batch).backward(),
            "dcar": lambda batch: whole.loss(batch).backward(),
            "opening": lambda batch: opening.of(batch.images),
        }
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for batch in islice(batches(train, options.batch, 0, 0), options.steps):
            for name, step in (*steps.items(), *steps.items()):
                start = time.perf_counter()
                step(batch)
                seconds[name].append(time.perf_counter() - start)
    # The first of each two steps filled the cache.
    timed = {name: spent[1::2] for name, spent in seconds.items()}
    for name, spent in timed.items():
        print(f"{name:8s} {1000 * median(spent):8.1f} ms per step of {options.batch}")
    for one, other in (("dcar", "maple"), ("maple", "towers"), ("opening", "maple")):
        ratios = [a / b for a, b in zip(timed[one], timed[other], strict=True)]
        print(f"{one} / {other}: {median(ratios):.2f}")


if __name__ == "__main__":
    main()
