"""Captions as tensors with their features, for methods that read a caption again together with an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def encode_captions(captions: Sequence[str]) -> Tensor:
    """Return (B, bytes) the captions in UTF-8, padded with zeros.

    >>> encode_captions(["aé", "b"]).tolist()
    [[97, 195, 169], [98, 0, 0]]
    """
    coded = [caption.encode() for caption in captions]
    longest = max(len(each) for each in coded)
    rows = [list(each.ljust(longest, b"\0")) for each in coded]
    return torch.tensor(rows, dtype=torch.uint8)


def decode_captions(rows: Tensor) -> list[str]:
    """Return the captions that `encode_captions` encoded.

    >>> decode_captions(encode_captions(["aé", "b"]))
    ['aé', 'b']
    """
    return [bytes(row).rstrip(b"\0").decode() for row in rows.tolist()]
