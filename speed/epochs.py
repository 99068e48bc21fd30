"""Measure encoding with an empty and a filled cache, and memory after each epoch of a training.

    python speed/epochs.py data/fdrd --backbone embedded

Encoding: zero_shot on the test split, twice; the second run reads the cache from disk. Memory: resident set after
each epoch (Linux). DCAR's grows until its pool of negatives is complete, 16 per caption.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from harness import own_bytes

import benchmark
from benchmark import FrozenFeatures, load_backbone


def main() -> None:
    """Print seconds, MiB and ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--shots", type=int, default=4, help="training images per category")
    parser.add_argument("--method", action="append", help="maple and dcar by default")
    options = parser.parse_args()
    encode_twice(options.data, options.backbone)
    for method in options.method or ["maple", "dcar"]:
        measure_memory(method, options)


def encode_twice(data: str, backbone: str) -> None:
    """Print the seconds of the encoding stage without and with frozen features."""
    with tempfile.TemporaryDirectory() as cache:
        first, second = (
            benchmark.run(
                "zero_shot", data, backbone=backbone, cache=Path(cache), allow_code=True
            ).seconds["encode"]
            for _ in range(2)
        )
    print(f"zero_shot encodes test: {first:.2f} s, then {second:.3f} s: {first / second:.0f} times")


def measure_memory(method: str, options: argparse.Namespace) -> None:
    """Print the resident MiB after each epoch of a training."""
    held: list[float] = []

    def note(stage: str, _done: int, _total: int) -> None:
        if stage.startswith("epoch ") and "validation MRR" in stage:
            held.append(own_bytes("VmRSS") / 2**20)

    with tempfile.TemporaryDirectory() as cache:
        backbone = load_backbone(
            options.backbone, allow_code=True, frozen=FrozenFeatures(Path(cache))
        )
        benchmark.run(
            method, options.data, backbone=backbone, shots=options.shots,
            train={"epochs": options.epochs}, progress=note,
        )  # fmt: skip
    settled = held[len(held) // 2]
    print(
        f"{method}, MiB after each epoch: {' '.join(f'{each:.0f}' for each in held)}; "
        f"second half {held[-1] - settled:+.0f} MiB, {100 * (held[-1] / settled - 1):+.1f} %"
    )


if __name__ == "__main__":
    main()
