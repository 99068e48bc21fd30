"""Captions from a template and what is known of a picture: its category, and attributes of a table of the user's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fdrd.captioning import Answer, Captioner, Expected, Failure, Question, Spending, captioner
from fdrd.captioning.captioner import Keep
from fdrd.captioning.table import Rows, read_rows
from fdrd.captioning.wording import fill
from fdrd.errors import FdrdError

OWN = ("category", "domain", "meta_category")
"""What every picture has, with or without a table."""


@captioner("template")
def template(
    spending: Spending, *, text: str = "This is a photo of {a category}.", attributes: str = ""
) -> Captioner:
    """Fills a template with the category and the attributes of a table; needs no model.

    Args:
        spending: the account of the run.
        text: the caption; `{category}` or `{a category}`, which puts the article before it, and columns of the table in
            the same way. Several, parted by ` | `: the first whose places can all be filled.
        attributes: a table (.csv, .jsonl) with a column `file_name`, or `category` for what all its pictures share.
    """
    texts = tuple(part.strip() for part in text.split(" | ") if part.strip())
    rows = read_rows(Path(attributes)) if attributes else Rows()
    known = {*OWN, *rows.columns}
    for part in texts:
        for name in re.findall(r"\{(?:an? )?(\w+)\}", part):
            if name not in known:
                where = f"a column of {attributes}" if attributes else "known"
                raise FdrdError(
                    f"template: {{{name}}} is not {where}; there are {', '.join(sorted(known))}"
                    + ("" if attributes else "; -C attributes=FILE adds columns of a table")
                )
    if not texts:
        raise FdrdError("template: -C text= is empty; write a caption with {a category} in it")
    return Template(texts, rows)


@dataclass(frozen=True, eq=False)
class Template:
    """The templates, and what is known of the pictures."""

    texts: tuple[str, ...]
    rows: Rows = field(repr=False)
    converses: bool = False
    free: bool = True

    @property
    def identity(self) -> Mapping[str, Any]:
        """The templates, and the table by its digest."""
        return {"name": "template", "text": list(self.texts), "attributes": self.rows.sha256}

    def expected(self, text: str) -> Expected:
        """Nothing."""
        return Expected()

    def answer(self, questions: Iterator[Question], keep: Keep) -> str:
        """Fills the first template for which everything is known."""
        for question in questions:
            record = question.picture.record
            values = {name: getattr(record, name) for name in OWN} | self.rows.of(record)
            keep(question, self._filled({name: value for name, value in values.items() if value}))
        return ""

    def _filled(self, values: dict[str, str]) -> Answer | Failure:
        missing: set[str] = set()
        for text in self.texts:
            try:
                return Answer(fill(text, values))
            except KeyError as error:
                missing.add(str(error.args[0]))
        return Failure("no_answer", f"no value for {', '.join(sorted(missing))}")
