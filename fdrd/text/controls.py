"""Show control and bidirectional characters, so that a name can change neither a terminal nor the text around it."""

from __future__ import annotations

_INVISIBLE = (
    *range(9),
    *range(11, 32),  # not tabs and line breaks
    *range(127, 160),
    0x061C,
    *range(0x200E, 0x2010),
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
)
_ESCAPES = {sign: f"\\x{sign:02x}" if sign < 256 else f"\\u{sign:04x}" for sign in _INVISIBLE}
JSON_ESCAPES = {sign: f"\\u{sign:04x}" for sign in _INVISIBLE}
"""For `str.translate` of JSON, where they mean the same characters."""


def visible(text: str) -> str:
    r"""Return text with control and bidirectional characters as escapes.

    >>> print(visible("a\x1b[2Jb"))
    a\x1b[2Jb
    """
    return text.translate(_ESCAPES)
