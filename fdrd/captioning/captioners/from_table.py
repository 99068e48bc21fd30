"""Captions from a user's table: attributes that fill in a template, or captions made elsewhere.

A table is JSON lines or CSV, with one row per image (`file_name`) or per category (`category`).
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from fdrd.captioning.interface import Answer, Failure, Keep, Question, Spending, captioner
from fdrd.captioning.wording import fill
from fdrd.errors import FdrdError
from fdrd.images.containers import path_in_source
from fdrd.reasons import Rejection
from fdrd.record import Record
from fdrd.sources.reading.lines import read_jsonl, read_separated
from fdrd.sources.reading.source_folder import SourceFolder
from fdrd.text.markup import visible
from fdrd.text.mentions import key

_READERS = {".jsonl": read_jsonl, ".csv": read_separated}
_RECORD_FIELDS = ("category", "domain", "meta_category")  # known without a table


@dataclass
class Table:
    """A table's columns, rows and digest.

    `by_file` has None where several rows have the file name. `by_category` has normalized names.
    """

    columns: dict[str, None] = field(default_factory=dict)
    by_file: dict[str, dict[str, str] | None] = field(default_factory=dict)
    by_category: dict[str, dict[str, str]] = field(default_factory=dict)
    sha256: str = ""
    _matched: dict[str, str] = field(default_factory=dict)

    def values_of(self, record: Record) -> dict[str, str]:
        """Return the values for an image; its own row overrides that of its category.

        Raise `FdrdError` if the file name in the table is ambiguous.
        """
        values = self.by_category.get(key(record.category), {})
        path = PurePosixPath(path_in_source(record.image))
        for depth in range(len(path.parts)):
            name = "/".join(path.parts[depth:])
            if name in self.by_file:
                row = self.by_file[name]
                other = self._matched.setdefault(name, str(path))
                if row is None:
                    problem = "is in several rows"
                elif other != str(path):
                    problem = f"matches {other} and {path}"
                else:
                    return values | row
                raise FdrdError(f"file_name {name!r} in the table {problem}; write full paths")
        return values


def read_table(file: Path) -> Table:
    """Read a .csv or .jsonl file. Raise `FdrdError` if it is invalid, or a row has neither file name nor category."""
    if file.suffix not in _READERS:
        raise FdrdError(f"{file}: the name of a table ends in .jsonl or .csv")
    try:
        table = Table(sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    except OSError as error:
        raise FdrdError(f"{file}: {error}") from error
    target = file.resolve()
    for line in _READERS[file.suffix](SourceFolder(target.parent), target.name):
        if isinstance(line, Rejection):
            raise FdrdError(f"{file}, {line.key}: {visible(' '.join(line.detail.split()))}")
        scalars = {k: v for k, v in line.fields.items() if isinstance(v, str | int | float)}
        row = {name: str(cell) for name, cell in scalars.items()}
        name = row.pop("file_name", "").replace("\\", "/").removeprefix("./")
        category = row.pop("category", "")
        table.columns |= dict.fromkeys(row)
        values = {column: cell for column, cell in row.items() if cell}
        if name:
            table.by_file[name] = None if name in table.by_file else values
        elif category:
            table.by_category[key(category)] = values
        else:
            raise FdrdError(f"{file}, {line.key}: neither file_name nor category in this row")
    return table


@dataclass
class LookUp:
    """A captioner that looks captions up; nothing is spent."""

    identity: Mapping[str, Any]
    look_up: Callable[[Record], Answer | Failure]
    converses: ClassVar[bool] = False
    free: ClassVar[bool] = True

    def answer(self, questions: Iterator[Question], keep: Keep) -> str:
        """Look up each image."""
        for question in questions:
            keep(question, self.look_up(question.image.record))
        return ""


@captioner("template")
def template(
    _: Spending, *, text: str = "This is a photo of {a category}.", attributes: str = ""
) -> LookUp:
    """Fill in a template with the category and attributes from a table; needs no model.

    Args:
        text: The caption, with `{category}`, or `{a category}` to add the article, and columns of the table. With
            several texts separated by ` | `, the first one with all values is used.
        attributes: Table (.csv, .jsonl) with a column `file_name`, or `category` for all images of a category.
    """
    texts = [part.strip() for part in text.split(" | ") if part.strip()]
    table = read_table(Path(attributes)) if attributes else Table()
    known = {*_RECORD_FIELDS, *table.columns}
    if unknown := set(re.findall(r"\{(?:an? )?(\w+)\}", text)) - known:
        flaw = f"unknown placeholder {{{min(unknown)}}}; known: {', '.join(sorted(known))}"
        raise FdrdError(f"template: {flaw}; -C attributes=FILE adds the columns of a table")
    if not texts:
        raise FdrdError("template: -C text= is empty; write a caption with {a category}")

    def look_up(record: Record) -> Answer | Failure:
        values = {name: getattr(record, name) for name in _RECORD_FIELDS}
        values |= table.values_of(record)
        values = {name: value for name, value in values.items() if value}
        missing: set[str] = set()
        for each in texts:
            try:
                return Answer(fill(each, values))
            except KeyError as error:
                missing.add(str(error.args[0]))
        return Failure("no_answer", f"no value for {', '.join(sorted(missing))}")

    return LookUp({"name": "template", "text": texts, "attributes": table.sha256}, look_up)


@captioner("reader")
def reader(_: Spending, *, file: str = "", caption: str = "caption") -> LookUp:
    """Read captions made elsewhere from a table. Filters, length limit and evaluator apply as usual.

    Args:
        file: Table (.csv, .jsonl) with a column `file_name`: the path below the source, or its end.
        caption: Column with the captions.
    """
    if not file:
        raise FdrdError("reader: name a .csv or .jsonl table, -C file=captions.jsonl")
    table = read_table(Path(file))
    if caption not in table.columns:
        names = ", ".join(table.columns)
        raise FdrdError(f"{file} has no column {caption!r}; choose with -C caption= from {names}")

    def look_up(record: Record) -> Answer | Failure:
        if text := table.values_of(record).get(caption):
            return Answer(text)
        return Failure("no_answer", f"no {caption} for {path_in_source(record.image)}")

    return LookUp({"name": "reader", "file": table.sha256, "caption": caption}, look_up)
