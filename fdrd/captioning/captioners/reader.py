"""Captions that were made elsewhere, read from a table: JSON lines or CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fdrd.captioning import Answer, Captioner, Expected, Failure, Question, Spending, captioner
from fdrd.captioning.captioner import Keep
from fdrd.captioning.table import Rows, read_rows
from fdrd.errors import FdrdError


@captioner("reader")
def reader(spending: Spending, *, file: str = "", caption: str = "caption") -> Captioner:
    """Reads captions that were made elsewhere; filters, lengths and an evaluator treat them as any other.

    Args:
        spending: the account of the run.
        file: a table (.csv, .jsonl) with a column `file_name`, the path below the source or its end.
        caption: the column that holds the captions.
    """
    if not file:
        raise FdrdError(
            "reader: give -C file=captions.jsonl, or a .csv, with file_name and caption"
        )
    rows = read_rows(Path(file))
    if caption not in rows.columns:
        raise FdrdError(
            f"{file} has no column {caption!r}; -C caption= names another of {', '.join(rows.columns)}"
        )
    return Reader(rows, caption)


@dataclass(frozen=True, eq=False)
class Reader:
    """The table, and the column of its captions."""

    rows: Rows = field(repr=False)
    column: str
    converses: bool = False
    free: bool = True

    @property
    def identity(self) -> Mapping[str, Any]:
        """The table, by its digest."""
        return {"name": "reader", "file": self.rows.sha256, "caption": self.column}

    def expected(self, text: str) -> Expected:
        """Nothing."""
        return Expected()

    def answer(self, questions: Iterator[Question], keep: Keep) -> str:
        """Looks each picture up."""
        for question in questions:
            text = self.rows.of(question.picture.record).get(self.column, "")
            nothing = Failure("no_answer", f"no {self.column} for {question.picture.path}")
            keep(question, Answer(text) if text else nothing)
        return ""
