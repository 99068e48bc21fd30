"""What a training step costs: DCAR beside MaPLe, MaPLe beside the bare towers.

    python speed/steps.py data/fdrd --backbone embedded

All share the batches, n_ctx and depth, and take turns, so that a busy machine slows them alike. The
images of a batch are kept, as they are after a few-shot training's first epoch; what it costs to open
and resize them stands beside. The
towers alone are a forward and backward pass through both with gradients to what enters them. DCAR's
plain features of captions and negatives are in the cache before the clock starts, as they are after
its first epochs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import baselines  # noqa: F401 - registers the methods
import dcar  # noqa: F401
from benchmark import FrozenFeatures, Prompts, get_method, info_nce, load_backbone
from benchmark.models.pixel_cache import Pixels
from benchmark.training.loop import Batch, batches
from benchmark.training.prompt_learners import CoupledPrompts
from fdrd import load

NAMES = ("towers", "maple", "dcar", "opening")


def main() -> None:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--n-ctx", type=int, default=4)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=12)
    given = parser.parse_args()
    train = load(given.data, "train")
    with tempfile.TemporaryDirectory() as cache:
        backbone = load_backbone(
            given.backbone, allow_code=True, frozen=FrozenFeatures(Path(cache))
        )
        size: dict[str, Any] = {"n_ctx": given.n_ctx, "depth": given.depth}
        maple = get_method("maple")(backbone, **size)
        whole: Any = get_method("dcar")(backbone, **size)
        whole.draw_from(train)
        entering = CoupledPrompts(backbone, given.n_ctx, "", 1, "independent", seed=0)

        def towers(batch: Batch) -> Any:
            prompts = entering()
            seen = backbone.encode_image(batch.images, Prompts(vision=prompts.vision))
            read = backbone.encode_text(batch.captions, Prompts(text=prompts.text))
            return info_nce(backbone.logit_scale * seen.pooled @ read.pooled.T)

        opening = Pixels(backbone.image_processor, most_bytes=0)
        steps: dict[str, Callable[[Batch], Any]] = {
            "towers": lambda batch: towers(batch).backward(),
            "maple": lambda batch: maple.loss(batch).backward(),
            "dcar": lambda batch: whole.loss(batch).backward(),
            "opening": lambda batch: opening.of(batch.images),
        }
        chosen = [
            batch
            for _, batch in zip(range(given.steps), batches(train, given.batch, 0, 0), strict=False)
        ]
        seconds: dict[str, list[float]] = {name: [] for name in NAMES}
        for batch in chosen:
            for name in NAMES:
                steps[name](batch)  # fills the cache
            for name in NAMES:
                start = time.perf_counter()
                steps[name](batch)
                seconds[name].append(time.perf_counter() - start)
    for name in NAMES:
        print(f"{name:8s} {1000 * median(seconds[name]):8.1f} ms a step of {given.batch}")
    for one, other in (("dcar", "maple"), ("maple", "towers"), ("opening", "maple")):
        ratios = [a / b for a, b in zip(seconds[one], seconds[other], strict=True)]
        print(f"{one} / {other}: {median(ratios):.2f}")


if __name__ == "__main__":
    main()
