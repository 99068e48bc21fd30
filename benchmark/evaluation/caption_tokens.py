"""Captions as numbers beside their features, for methods that read them again with an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def written(captions: Sequence[str]) -> Tensor:
    """(B, bytes) the captions in UTF-8, filled up with zeros.

    >>> written(["aé", "b"]).tolist()
    [[97, 195, 169], [98, 0, 0]]
    """
    coded = [caption.encode() for caption in captions]
    longest = max(len(each) for each in coded)
    rows = [list(each.ljust(longest, b"\0")) for each in coded]
    return torch.tensor(rows, dtype=torch.uint8)


def read(rows: Tensor) -> list[str]:
    """The captions that `written` wrote.

    >>> read(written(["aé", "b"]))
    ['aé', 'b']
    """
    return [bytes(row).rstrip(b"\0").decode() for row in rows.tolist()]
