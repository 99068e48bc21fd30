"""Short keys of texts, which take less memory than the texts."""

from __future__ import annotations

import hashlib


def text_key(text: str) -> int:
    """Return 64 bits of a hash of a text."""
    data = text.encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())
