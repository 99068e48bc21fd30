r"""Sections of a card that are written by machine, between marks that Markdown does not show.

>>> card = section("counts", "12 rows") + "\nBy hand.\n"
>>> print(put_section(card, "counts", "13 rows"))
<!-- fdrd:counts -->
13 rows
<!-- /fdrd:counts -->
By hand.
<BLANKLINE>
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# A mark is a line of its own, so that no cell of a table and no code can be taken for one.
_SECTION = re.compile(
    r"^<!-- fdrd:(?P<name>\w+) -->[ \t]*\r?\n(?P<text>.*?)^<!-- /fdrd:(?P=name) -->[ \t]*\r?$",
    re.MULTILINE | re.DOTALL,
)


def section(name: str, text: str) -> str:
    """A text between the marks of a section."""
    return f"<!-- fdrd:{name} -->\n{text.strip()}\n<!-- /fdrd:{name} -->"


def sections(card: str) -> dict[str, str]:
    """The text of each section, in order."""
    return {found["name"]: found["text"].strip() for found in _SECTION.finditer(card)}


def put_section(card: str, name: str, text: str) -> str:
    """The card with this text in the section of that name, or at its end where it has no such section."""
    return put_sections(card, {**sections(card), name: text})


def put_sections(card: str, texts: Mapping[str, str]) -> str:
    """The card with these sections and no others; what stands outside of sections stays as it is.

    Sections that the card lacks go to its end, those that are not in `texts` any more vanish.
    """
    missing = dict(texts)

    def replace(found: re.Match[str]) -> str:
        text = missing.pop(found["name"], None)
        return "" if text is None else section(found["name"], text)

    kept = _SECTION.sub(replace, card)
    if missing:
        added = "\n\n".join(section(name, text) for name, text in missing.items())
        kept = f"{kept.rstrip()}\n\n{added}\n"
    return kept
