"""Text of others made harmless in terminals and Markdown, and Markdown tables.

A name changes neither a terminal nor the text around it. In Markdown, it neither leaves its place nor carries HTML.
"""

import json
import re
from collections.abc import Iterable, Sequence

_INVISIBLE = (
    *(*range(9), *range(11, 32), *range(127, 160)),  # not tabs and line breaks
    *(0x00AD, 0x061C, 0x180E, 0x200B, 0xFEFF),
    *range(0x200E, 0x2010),  # not the joiners of scripts and emoji
    *(*range(0x2028, 0x202F), *range(0x2060, 0x2070), *range(0xFFF9, 0xFFFC)),
    *range(0xD800, 0xE000),  # bytes of a file name that are no UTF-8
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


def escape(text: str) -> str:
    r"""Return text that Markdown shows literally, on one line, also in a table cell.

    >>> escape("a|b <script> *c*")
    'a\\|b \\<script\\> \\*c\\*'
    """
    return re.sub(r"([\\`*_{}\[\]<>|#~&$])", r"\\\1", visible(" ".join(text.split())))


def code(text: str) -> str:
    r"""Return text as inline code on one line, also in a table cell.

    >>> print(code("a_b.json"), code("`|"))
    `a_b.json` `` `\| ``
    """
    # The backslash is the only escape that works inside code.
    plain = visible(" ".join(text.split())).replace("|", r"\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", plain)), default=0))
    space = " " if "`" in plain else ""
    return f"{fence}{space}{plain}{space}{fence}"


def fenced(text: str, language: str) -> str:
    r"""Return text as a block of code, whatever it contains.

    >>> print(fenced("a ```", "sh"))
    ````sh
    a ```
    ````
    """
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{visible(text)}\n{fence}"


def markdown_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int | None = None
) -> str:
    """Return a Markdown table of cells that are Markdown already.

    `text_columns` is the number of left-aligned columns, by default all; the others are right-aligned.
    >>> print(markdown_table(("a", "b"), [("1", "2")], text_columns=1))
    | a | b |
    |---|---:|
    | 1 | 2 |
    """
    left = len(head) if text_columns is None else text_columns
    rule = "|" + "---|" * left + "---:|" * (len(head) - left)
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], rule, *lines[1:]])
