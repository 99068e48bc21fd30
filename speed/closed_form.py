"""Time canonical correlation analysis on drawn pairs, and measure its memory.

    python speed/closed_form.py --pairs 230000 --width 512

Covariances of features in float32 are added up in double precision, and solved once.
"""

from __future__ import annotations

import argparse
import time

import torch
from harness import describe_machine, own_bytes

from benchmark.training.closed_form import ROWS, candidates, covariances_of


def main() -> None:
    """Print the seconds for covariances of drawn features, and for one set of maps."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=230_000)
    parser.add_argument("--width", type=int, default=512)
    options = parser.parse_args()
    pairs, width = options.pairs, options.width
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(pairs, width, generator=generator) for _ in range(2))
    y += x
    started, before = time.perf_counter(), own_bytes("VmRSS")
    blocks = (slice(start, start + ROWS) for start in range(0, pairs, ROWS))
    found = covariances_of((x[rows], y[rows]) for rows in blocks)
    added = time.perf_counter()
    next(candidates("cca", found))
    solved, more = time.perf_counter() - added, own_bytes("VmHWM") - before
    times = f"covariances {added - started:.1f} s, maps {solved:.1f} s"
    print(describe_machine())
    print(f"{pairs:,} pairs of {width}: {times}, {more / 2**20:,.0f} MiB more than the features")


if __name__ == "__main__":
    main()
