"""What a user's table says of pictures: JSON lines or CSV, a row per picture or per category."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fdrd.errors import FdrdError
from fdrd.record import Record
from fdrd.text.mentions import key

_KEYS = ("file_name", "category")


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a table by what they are about.

    Attributes:
        columns: names of the columns, but for `file_name` and `category`.
        of_file: values by each name that may be meant, the full path and its ends.
        of_category: values by the category's name, in any spelling.
        sha256: digest of the file.
    """

    columns: tuple[str, ...] = ()
    of_file: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict, repr=False)
    of_category: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    sha256: str = ""
    _meant: dict[str, str] = field(default_factory=dict, repr=False)

    def of(self, record: Record) -> dict[str, str]:
        """What is known of a picture: of its category, and what stands in its own row above that.

        Raises:
            FdrdError: its name fits several rows.
        """
        found = dict(self.of_category.get(key(record.category), {}))
        path = PurePosixPath(record.image.path)
        for depth in range(len(path.parts)):
            name = "/".join(path.parts[depth:])
            if name in self.of_file:
                own = self.of_file[name]
                other = self._meant.setdefault(name, record.image.path)
                if own is None or other != record.image.path:
                    what = "is in several rows" if own is None else f"could mean {other} or {path}"
                    raise FdrdError(f"file_name {name!r} of the table {what}; write whole paths")
                return found | dict(own)
        return found


def read_rows(file: Path) -> Rows:
    """The rows of a .csv or .jsonl file.

    Raises:
        FdrdError: it cannot be read, or a row names no picture and no category; with its line.
    """
    try:
        data = file.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FdrdError(f"{file}: {error}") from error
    if file.suffix not in (".jsonl", ".csv"):
        raise FdrdError(f"{file}: a table ends in .jsonl or .csv")
    columns: dict[str, None] = {}
    of_file: dict[str, Mapping[str, str] | None] = {}
    of_category: dict[str, Mapping[str, str]] = {}
    for number, row in _json_rows(file, text) if file.suffix == ".jsonl" else _csv_rows(file, text):
        values = {name: value for name, value in row.items() if name not in _KEYS and value}
        columns.update(dict.fromkeys(name for name in row if name not in _KEYS))
        if row.get("file_name"):
            name = row["file_name"].replace("\\", "/").removeprefix("./")
            of_file[name] = None if name in of_file else values
        elif row.get("category"):
            of_category[key(row["category"])] = values
        else:
            raise FdrdError(f"{file}:{number}: neither file_name nor category in this row")
    return Rows(tuple(columns), of_file, of_category, hashlib.sha256(data).hexdigest())


def _json_rows(file: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise FdrdError(f"{file}:{number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise FdrdError(f"{file}:{number}: a {type(row).__name__} where an object was expected")
        yield (
            number,
            {
                name: str(value)
                for name, value in row.items()
                if isinstance(value, str | int | float)
            },
        )


def _csv_rows(file: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise FdrdError(f"{file}:{rows.line_num + 1}: {error}") from error
        if row is None:
            return
        yield rows.line_num, {name: value or "" for name, value in row.items() if name}
