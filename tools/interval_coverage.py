"""Simulate how often 95 % intervals contain the true value.

    python tools/interval_coverage.py            # all settings, 2,000 splits each, some minutes
    python tools/interval_coverage.py 200        # fewer splits

A success is drawn for each caption of an image. The chance of success varies between images (beta distribution), so the
captions of an image are correlated by `share`. For MRR, a failed caption has a rank from 2 to 10.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmark.intervals import score_interval

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """One kind of split.

    Attributes:
        recall: chance that a caption is found.
        images: in the gallery.
        captions: per image; with `uneven`, from 1 to twice as many less one.
        share: correlation of the captions of an image.
        uneven: whether images have different numbers of captions.
        domains: galleries that the number is averaged over.
        ranks: whether to average reciprocal ranks instead of successes.
    """

    recall: float
    images: int
    captions: int = 1
    share: float = 0.0
    uneven: bool = False
    domains: int = 1
    ranks: bool = False


def draw(setting: Setting, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the sum over captions and the number of captions, (I, 1) each."""
    count = np.full(setting.images, setting.captions)
    if setting.uneven:
        count = random.integers(1, 2 * setting.captions, setting.images)
    chance = np.full(setting.images, setting.recall)
    if setting.share:
        spread = (1 - setting.share) / setting.share
        chance = random.beta(setting.recall * spread, (1 - setting.recall) * spread, setting.images)
    sums = random.binomial(count, chance).astype(np.float64)
    if setting.ranks:
        failed = np.repeat(np.arange(setting.images), count - sums.astype(int))
        reciprocal = 1 / random.integers(2, 11, len(failed))
        sums += np.bincount(failed, reciprocal, minlength=setting.images)
    return sums[:, None], count[:, None].astype(np.float64)


def coverage(setting: Setting, splits: int, seed: int = 0) -> float:
    """Return the share of random splits whose interval contains the true value."""
    random = np.random.default_rng(seed)
    true = setting.recall
    if setting.ranks:
        true += (1 - setting.recall) * float(np.mean(1 / np.arange(2, 11)))
    hits = 0
    for _ in range(splits):
        low, high = score_interval([draw(setting, random) for _ in range(setting.domains)])
        hits += low <= true <= high
    return hits / splits


RECALLS = (0.02, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.98)
CAPTIONS = (
    {},
    {"captions": 5},
    {"captions": 5, "share": 0.3},
    {"captions": 5, "share": 0.8},
    {"captions": 3, "share": 0.3, "uneven": True},
    {"domains": 4},
    {"ranks": True},
    {"ranks": True, "captions": 5, "share": 0.3},
)

if __name__ == "__main__":
    splits = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(f"| images | captions | {' | '.join(map(str, RECALLS))} |")
    print("|---|---|" + "---|" * len(RECALLS))
    for images in (100, 200, 500, 1000, 5000):
        for captions in CAPTIONS:
            settings = [Setting(recall, images, **captions) for recall in RECALLS]  # type: ignore[arg-type]
            shown = [f"{coverage(each, splits):.3f}" for each in settings]
            print(f"| {images:,} | {captions or 1} | {' | '.join(shown)} |", flush=True)
