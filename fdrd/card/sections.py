r"""Generated sections of a card, between marks that Markdown does not display.

>>> card = section("counts", "12 rows") + "\nWritten by hand.\n"
>>> print(put_section(card, "counts", "13 rows"))
<!-- fdrd:counts -->
13 rows
<!-- /fdrd:counts -->
Written by hand.
<BLANKLINE>
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# A mark is a line of its own, so table cells and code cannot be mistaken for one.
_SECTION = re.compile(
    r"^<!-- fdrd:(?P<name>\w+) -->[ \t]*\r?\n(?P<text>.*?)^<!-- /fdrd:(?P=name) -->[ \t]*\r?$",
    re.MULTILINE | re.DOTALL,
)


def section(name: str, text: str) -> str:
    """Return a text between the marks of a section."""
    return f"<!-- fdrd:{name} -->\n{text.strip()}\n<!-- /fdrd:{name} -->"


def sections(card: str) -> dict[str, str]:
    """Return the text of each section, in order."""
    return {found["name"]: found["text"].strip() for found in _SECTION.finditer(card)}


def put_section(card: str, name: str, text: str) -> str:
    """Return the card with a section replaced, or appended if it is missing."""
    return put_sections(card, {**sections(card), name: text})


def put_sections(card: str, texts: Mapping[str, str]) -> str:
    """Return the card with exactly these sections; text outside of sections stays.

    Missing sections are appended. Sections that are not in `texts` are removed.
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
