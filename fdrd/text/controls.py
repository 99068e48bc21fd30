"""Show control, bidirectional and invisible characters: a name changes neither a terminal nor the text around it."""

from __future__ import annotations

import json

_INVISIBLE = (
    *range(9),
    *range(11, 32),  # not tabs and line breaks
    *range(127, 160),
    0x00AD,
    0x061C,
    0x180E,
    0x200B,
    *range(0x200E, 0x2010),  # not the joiners of scripts and emoji
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
    *range(0xD800, 0xE000),  # bytes of a file name that are no UTF-8
    0xFEFF,
    *range(0xFFF9, 0xFFFC),
    *range(0xE0000, 0xE0080),  # tags, which can hide a text
)
_ESCAPES = {
    sign: f"\\x{sign:02x}" if sign < 256 else f"\\u{sign:04x}" if sign < 2**16 else f"\\U{sign:08x}"
    for sign in _INVISIBLE
}
JSON_ESCAPES = {
    sign: f"\\u{sign:04x}" if sign < 2**16 else json.dumps(chr(sign))[1:-1] for sign in _INVISIBLE
}
"""For `str.translate` of JSON, where they mean the same characters."""


def is_unicode(text: str) -> bool:
    r"""Return whether a text has no lone surrogate, which JSON and file names can have but UTF-8 cannot.

    >>> is_unicode("caf\u00e9"), is_unicode("\ud800")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def visible(text: str) -> str:
    r"""Return text with control, bidirectional and invisible characters as escapes.

    The escapes are those of Python, and of double-quoted text in YAML.

    >>> print(visible("a\x1b[2Jb\u202e"))
    a\x1b[2Jb\u202e
    """
    return text.translate(_ESCAPES)
