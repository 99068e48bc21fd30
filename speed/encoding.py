"""Compare the options of an encoder: zero_shot encodes a split in float32, in bfloat16, and compiled.

    python speed/encoding.py data/fdrd --backbone embedded

The ways alternate, with nothing cached. The first round, in which torch compiles, does not count.
"""

from __future__ import annotations

import argparse
from functools import partial

import torch
from harness import describe_machine, interleave, median_ratio

from benchmark import get_method, load_backbone
from benchmark.evaluation.encoding import encode_split
from fdrd.dataset import load_view

WAYS = ("", "#precision=bfloat16", "#compile=yes")


def main() -> None:
    """Print ratios of seconds, and how far features are from those in float32."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    test = load_view(given.data, "test")
    methods = {
        way: get_method("zero_shot")(load_backbone(f"{given.backbone}{way}", allow_code=True))
        for way in WAYS
    }
    encode = {way: partial(encode_split, method, test) for way, method in methods.items()}
    exact, *others = (torch.cat([side.pooled for side in encode[way]()]) for way in WAYS)
    seconds = interleave(encode, given.rounds)
    print(f"{describe_machine()}; {len(test.image_digests)} images, {len(test.captions)} captions")
    for way, found in zip(WAYS[1:], others, strict=True):
        cosines = (exact * found).sum(1)
        print(
            f"{way}: {median_ratio(seconds[way], seconds['']):.2f} times the seconds of float32; "
            f"least cosine with its features {float(cosines.min()):.5f}"
        )


if __name__ == "__main__":
    main()
