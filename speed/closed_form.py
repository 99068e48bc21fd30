"""Time canonical correlation analysis beside one epoch of an adapter on the same cached features, and on drawn pairs.

    python speed/closed_form.py data/fdrd --backbone embedded --layers joint
    python speed/closed_form.py --pairs 230000 --width 512

With a dataset, both alternate, and encoding is done before the clock starts. `cca` chooses its settings on validation,
the epoch includes the validation after it. Without one, covariances of drawn features in float32 are added up in double
precision, and solved once.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from harness import describe_machine, interleave, median_ratio, own_bytes

from benchmark import FrozenFeatures, TrainConfig, get_method, load_backbone
from benchmark.training.closed_form import ROWS, candidates, covariances_of
from fdrd.dataset import load_view


def main() -> None:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--layers", default="joint")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=230_000)
    parser.add_argument("--width", type=int, default=512)
    options = parser.parse_args()
    print(describe_machine())
    if options.data:
        beside_an_epoch(options)
    else:
        drawn(options.pairs, options.width)


def beside_an_epoch(options: argparse.Namespace) -> None:
    """Print the seconds of both methods and their ratio."""
    train, validation = (load_view(options.data, split) for split in ("train", "validation"))
    config = TrainConfig(epochs=1, batch_size=256, optimizer="adamw", learning_rate=1e-3)
    with tempfile.TemporaryDirectory() as cache:
        backbone = load_backbone(
            options.backbone, allow_code=True, frozen=FrozenFeatures(Path(cache))
        )

        def fit(name: str, **given: Any) -> None:
            get_method(name)(backbone, layers=options.layers, **given).fit(train, validation)

        ways = {
            "cca": lambda: fit("cca"),
            "adapter": lambda: fit(
                "clip_adapter", side="both", form="residual", ratio=1, reduction=1, train=config
            ),
        }
        interleave(ways, 1)  # fills the cache
        seconds = interleave(ways, options.rounds)
    print(f"{len(train):,} training pairs, {len(validation):,} for validation, {options.layers}")
    for name, spent in seconds.items():
        print(f"{name:8s} {median(spent):8.2f} s")
    print(f"cca / epoch of adapters: {median_ratio(seconds['cca'], seconds['adapter']):.2f}")


def drawn(pairs: int, width: int) -> None:
    """Print the seconds for covariances of drawn features, and for one set of maps."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(pairs, width, generator=generator) for _ in range(2))
    y += x
    started, before = time.perf_counter(), own_bytes("VmRSS")
    found = covariances_of(
        (x[start : start + ROWS], y[start : start + ROWS]) for start in range(0, pairs, ROWS)
    )
    added = time.perf_counter()
    next(candidates("cca", found))
    solved, more = time.perf_counter() - added, own_bytes("VmHWM") - before
    times = f"covariances {added - started:.1f} s, maps {solved:.1f} s"
    print(f"{pairs:,} pairs of {width}: {times}, {more / 2**20:,.0f} MiB more than the features")


if __name__ == "__main__":
    main()
