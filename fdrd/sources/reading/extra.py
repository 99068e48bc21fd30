"""Columns of a source that fdrd does not know: kept as `Record.extra`, with names and values that any tool can hold.

A name becomes an identifier, with `_` at the end if fdrd has a column of that name. Width and height are left out,
because fdrd measures them. A column that cannot be kept is counted under the rule `column_left_out`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from functools import lru_cache
from typing import Any
from unicodedata import normalize

from msgspec.structs import replace

from fdrd.columns import KNOWN_COLUMNS, MAX_COLUMN_NAME
from fdrd.record import Record, Scalar
from fdrd.sources.reading.names import MAX_CAPTION
from fdrd.text.controls import is_unicode
from fdrd.text.normalize import has_too_many_marks

MAX_COLUMNS = 32
"""Extra columns of a domain; those that come first are kept."""
LEFT_OUT = "column_left_out"
NESTED: tuple[()] = ()
"""Stands for a value that is not read, because its column holds lists, objects or bytes."""

_RESERVED = KNOWN_COLUMNS | {"split", "license", "rules", "extra", "file_name", "columns"}
_MEASURED = ("width", "height")
_INT64 = range(-(2**63), 2**63)


def extra_columns(unknown: Mapping[str, Any]) -> tuple[dict[str, Scalar], bool]:
    """Return the extra columns of a row, and whether one was left out. Empty values are null.

    >>> extra_columns({"taken by": "Ann", "source": "web", "boxes": [1], "width": 9, "note": ""})
    ({'taken_by': 'Ann', 'source_': 'web'}, True)
    """
    found: dict[str, Scalar] = {}
    complete = True
    for column, value in unknown.items():
        if value is None or value == "" or value != value:
            continue
        name = _identifier(column[: 4 * MAX_COLUMN_NAME])
        if name in _MEASURED:
            continue
        scalar = _scalar(value)
        if scalar is None or not name or name in found or len(found) == MAX_COLUMNS:
            complete = False
        else:
            found[name + "_" * (name in _RESERVED)] = scalar
    return found, not complete


def within_limit(record: Record, names: dict[str, None]) -> Record:
    """Return a record without the extra columns after the first `MAX_COLUMNS` of its domain.

    Args:
        record: next record of the domain.
        names: columns of the records before it; updated.
    """
    kept = {}
    for name, value in record.extra.items():
        if name in names or len(names) < MAX_COLUMNS:
            names[name] = None
            kept[name] = value
    if len(kept) == len(record.extra):
        return record
    rules = (*(rule for rule in record.rules if rule != LEFT_OUT), LEFT_OUT)
    return replace(record, extra=kept, rules=rules)


@lru_cache(maxsize=1024)
def _identifier(column: str) -> str:
    """Return the name of a column as an identifier, empty if it has no letter, digit or underscore.

    >>> _identifier("taken by (name)"), _identifier("2nd"), _identifier("?")
    ('taken_by_name', '_2nd', '')
    """
    if not is_unicode(column):
        return ""
    name = re.sub(r"\W+", "_", normalize("NFKC", column)).strip("_")
    name = name if name.isidentifier() or not name else f"_{name}"
    name = name[: MAX_COLUMN_NAME - 1]
    return name if name.isidentifier() else ""


def _scalar(value: object) -> Scalar | None:
    """Return the value of a column, or None for one that cannot be kept."""
    match value:
        case bool():
            return value
        case int():
            return value if value in _INT64 else str(value)
        case float():
            return value if math.isfinite(value) else None
        case date() | time() | Decimal():
            return str(value)
        case str():
            short = len(value) <= MAX_CAPTION and is_unicode(value)
            return value if short and not has_too_many_marks(value) else None
    return None
