r"""Markdown from untrusted text, which can neither leave its place nor carry HTML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from fdrd.text.controls import visible


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
    plain = visible(" ".join(text.split())).replace(
        "|", r"\|"
    )  # the only escape that works inside code
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

    Args:
        head: column headings.
        rows: cells of each row.
        text_columns: number of left-aligned columns; the others are right-aligned. All by default.

    >>> print(markdown_table(("a", "b"), [("1", "2")], text_columns=1))
    | a | b |
    |---|---:|
    | 1 | 2 |
    """
    left = len(head) if text_columns is None else text_columns
    rule = "|" + "---|" * left + "---:|" * (len(head) - left)
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], rule, *lines[1:]])
