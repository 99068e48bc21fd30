"""What is kept: the second encoding of a split beside the first, and memory from epoch to epoch.

    python speed/epochs.py data/fdrd --backbone embedded

Encoding: zero_shot on the test split, twice, with an empty cache of frozen features at first; both in
this process, the second with the cache read from disk. Memory: what the process holds after each epoch
of a training (resident set, Linux), with a cache of its own. DCAR's grows until its pool of negatives is
known, 16 to a caption; the last column says how much came after the epoch that filled it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import baselines  # noqa: F401 - registers the methods
import benchmark
import dcar  # noqa: F401
from benchmark import FrozenFeatures, load_backbone

PAGE_BYTES = 4096


def main() -> None:
    """Print seconds, MiB and ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--shots", type=int, default=4, help="training images per category")
    parser.add_argument("--method", action="append", help="maple and dcar by default")
    given = parser.parse_args()
    encode_twice(given.data, given.backbone)
    for method in given.method or ["maple", "dcar"]:
        memory(method, given.data, given.backbone, given.epochs, given.shots)


def encode_twice(data: str, backbone: str) -> None:
    """Seconds of the encoding stage, without and with frozen features."""
    with tempfile.TemporaryDirectory() as cache:
        first, second = (
            benchmark.run(
                "zero_shot", data, backbone=backbone, cache=Path(cache), allow_code=True
            ).seconds["encode"]
            for _ in range(2)
        )
    print(
        f"zero_shot encodes test: {first:.2f} s, again {second:.3f} s: {first / second:.0f} times"
    )


def memory(method: str, data: str, backbone: str, epochs: int, shots: int) -> None:
    """MiB after each epoch of a training."""
    held: list[float] = []

    def note(what: str, _done: int, _total: int) -> None:
        if what.startswith("epoch ") and "validation MRR" in what:
            held.append(resident())

    with tempfile.TemporaryDirectory() as cache:
        tower = load_backbone(backbone, allow_code=True, frozen=FrozenFeatures(Path(cache)))
        benchmark.run(
            method, data, backbone=tower, shots=shots, train={"epochs": epochs}, progress=note
        )
    settled = held[len(held) // 2]
    shown = " ".join(f"{each:.0f}" for each in held)
    print(
        f"{method}, MiB after each epoch: {shown}; second half {held[-1] - settled:+.0f} MiB, "
        f"{100 * (held[-1] / settled - 1):+.1f} %"
    )


def resident() -> float:
    """MiB of this process that lie in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * PAGE_BYTES / 2**20


if __name__ == "__main__":
    main()
