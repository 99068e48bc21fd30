"""Print the near duplicates that imagededup and cleanvision find in a folder, as JSON: pairs of names by tool.

Run by `near_duplicates.py --peers PYTHON` with an interpreter that has these packages.
"""

from __future__ import annotations

import contextlib
import json
import sys
from itertools import combinations
from pathlib import Path

import numpy as np

Pairs = list[tuple[str, str]]


def imagededup_pairs(folder: str) -> dict[str, Pairs]:
    """Return pairs whose perceptual hashes differ in at most 10 of 64 bits, the default, or in at most 4."""
    from imagededup.methods import PHash

    encoded = PHash(verbose=False).encode_images(image_dir=folder, num_enc_workers=1)
    names = sorted(encoded)
    codes = np.array([int(encoded[name], 16) for name in names], dtype=np.uint64)
    found: dict[int, Pairs] = {10: [], 4: []}
    for place, name in enumerate(names):  # as its own search does, which takes an hour here
        distance = np.bitwise_count(codes[place + 1 :] ^ codes[place])
        for most, pairs in found.items():
            pairs += [(name, names[place + 1 + at]) for at in np.flatnonzero(distance <= most)]
    return {f"imagededup PHash, {most}": pairs for most, pairs in found.items()}


def cleanvision_pairs(folder: str) -> Pairs:
    """Return pairs of the sets of exact and near duplicates."""
    from cleanvision import Imagelab

    lab = Imagelab(data_path=folder)
    lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, n_jobs=1, verbose=False)
    sets = [each for kind in ("exact", "near") for each in lab.info[f"{kind}_duplicates"]["sets"]]
    return [pair for each in sets for pair in combinations(sorted(Path(i).name for i in each), 2)]


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        tools = imagededup_pairs(sys.argv[1]) | {"cleanvision": cleanvision_pairs(sys.argv[1])}
    print(json.dumps(tools))
