r"""Text of a source in Markdown, unable to break out of its place or to carry HTML."""

from __future__ import annotations

import re


def escape(text: str) -> str:
    r"""Text that Markdown shows as it is, on one line, in a cell of a table too.

    >>> escape("a|b <script> *c*")
    'a\\|b \\<script\\> \\*c\\*'
    """
    return re.sub(r"([\\`*_{}\[\]<>|#~&$])", r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    r"""Text as code, on one line, in a cell of a table too.

    >>> print(code("a_b.json"), code("`|"))
    `a_b.json` `` `\| ``
    """
    plain = " ".join(text.split()).replace(
        "|", r"\|"
    )  # the one escape that holds in code: a table's
    fence = "`" * (1 + max(map(len, re.findall("`+", plain)), default=0))
    space = " " if "`" in plain else ""
    return f"{fence}{space}{plain}{space}{fence}"
