"""The columns of a dataset: their types are those of the fields of a record, in the forms of Arrow and of `datasets`.

`datasets` is not imported, because it takes a second and pandas. `tests/fdrd/test_columns.py` compares each form with
what it writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct, inspect

from fdrd.record import Record, Scalar

if TYPE_CHECKING:
    import pyarrow as pa

CATEGORY_NAME = "category_name"
"""A column of Parquet shards, for readers that do not know what the number of a category means."""
COLUMNS: tuple[str, ...] = (
    *f"id image caption category {CATEGORY_NAME} meta_category domain".split(),
    *"attributes negatives natural_pairs group source width height".split(),
)
"""The columns in their order, the name in Parquet only. A shard has one split, and the manifest counts the rules."""
KNOWN_COLUMNS = frozenset(COLUMNS)
MEASURED = ("width", "height")
"""Columns that a build measures: exports leave them out, and readers ignore them."""

_TEXT = {"dtype": "string", "_type": "Value"}
_INTEGER = {"dtype": "int32", "_type": "Value"}

ExtraTypes = Mapping[str, str]
"""The extra columns of a dataset and their types, in the order of the columns; a value may be null."""
EXTRA_TYPES: dict[str, type] = {"string": str, "int64": int, "float64": float, "bool": bool}
"""Types of extra columns, with the Python type of their values."""
_NO_EXTRA: ExtraTypes = {}
MAX_COLUMN_NAME = 64  # characters in the name of an extra column


def features(
    categories: Sequence[str], extra: ExtraTypes = _NO_EXTRA, *, named: bool = False
) -> dict[str, Any]:
    """Return the columns of a dataset, in Parquet with the names of categories, as `datasets.Features.to_dict` does."""
    columns = {
        **_form(inspect.type_info(Record)),
        "image": {"_type": "Image"},
        "category": {"names": list(categories), "_type": "ClassLabel"},
        CATEGORY_NAME: _TEXT,
    }
    known = {name: columns[name] for name in COLUMNS if named or name != CATEGORY_NAME}
    return known | {name: {"dtype": dtype, "_type": "Value"} for name, dtype in extra.items()}


def extra_types(rows: Iterable[Mapping[str, Scalar]]) -> dict[str, str]:
    """Return the types of the extra columns of rows, sorted by name. A column of mixed types is a string column.

    >>> extra_types([{"year": 1999, "tag": "a"}, {"year": 1.5, "tag": True}])
    {'tag': 'string', 'year': 'float64'}
    """
    found: dict[str, set[type]] = {}
    for row in rows:
        for name, value in row.items():
            found.setdefault(name, set()).add(type(value))
    return {name: _dtype(found[name]) for name in sorted(found)}


def _dtype(types: set[type]) -> str:
    if types == {int, float}:
        return "float64"
    return next((name for name, each in EXTRA_TYPES.items() if types == {each}), "string")


def extra_row(extra: Mapping[str, Scalar], types: ExtraTypes) -> dict[str, Scalar | None]:
    """Return the extra columns of a row, each with a value of its type or None."""
    return {
        name: None if (value := extra.get(name)) is None else EXTRA_TYPES[dtype](value)
        for name, dtype in types.items()
    }


def extra_of(row: Mapping[str, Any]) -> dict[str, Scalar]:
    """Return the extra columns of a row that are not null."""
    return {
        name: value
        for name, value in row.items()
        if name not in KNOWN_COLUMNS and value is not None
    }


def extra_in_schema(schema: pa.Schema) -> dict[str, str]:
    """Return the extra columns of a shard; raise `ValueError` if one has a type or name that they cannot have."""
    found = {field.name: field.type for field in schema if field.name not in KNOWN_COLUMNS}
    types = {name: {"double": "float64"}.get(str(kind), str(kind)) for name, kind in found.items()}
    for name, kind in types.items():
        if kind not in EXTRA_TYPES or not name.isidentifier() or len(name) > MAX_COLUMN_NAME:
            raise ValueError(f"the column {name[:MAX_COLUMN_NAME]!r} of the type {kind} is unknown")
    return types


def arrow_schema(
    categories: Sequence[str], extra: ExtraTypes = _NO_EXTRA, *, named: bool = False
) -> pa.Schema:
    """Return the Arrow schema of a dataset, with the metadata that `datasets` reads."""
    return schema_of(features(categories, extra, named=named))


def schema_of(columns: dict[str, Any]) -> pa.Schema:
    """Return the Arrow schema of columns in the form of `features`, with the metadata that `datasets` reads."""
    import pyarrow as pa

    metadata = json.dumps({"info": {"features": columns}})
    types = _arrow_type(columns, pa.string(), pa.int32())
    return pa.schema(types).with_metadata({"huggingface": metadata})


def struct_schema(type: type[Struct]) -> pa.Schema:
    """Return the Arrow schema of a list of structs of a type: 64-bit offsets and integers, for lists of any length."""
    import pyarrow as pa

    form = _form(inspect.type_info(type))
    return pa.schema(_arrow_type(form, pa.large_string(), pa.int64()))


def _form(type: inspect.Type) -> dict[str, Any]:
    """Return a type of a record in the form of `datasets`; a dict is the text of its JSON."""
    match type:
        case inspect.StructType(fields=fields):
            return {field.name: _form(field.type) for field in fields}
        case inspect.VarTupleType(item_type=item):
            return {"feature": _form(item), "_type": "List"}
        case inspect.IntType():
            return _INTEGER
    return _TEXT


def _arrow_type(column: dict[str, Any], text: pa.DataType, integer: pa.DataType) -> pa.DataType:
    """Return the Arrow type of a column, with these types of its texts and integers."""
    import pyarrow as pa

    match column.get("_type"):
        case "Value":
            dtype = column["dtype"]
            return {"string": text, "int32": integer}.get(dtype) or pa.type_for_alias(dtype)
        case "ClassLabel":
            return pa.int64()
        case "Image":
            return pa.struct({"bytes": pa.binary(), "path": pa.string()})
        case "List":
            return pa.list_(_arrow_type(column["feature"], text, integer))
    return pa.struct({name: _arrow_type(each, text, integer) for name, each in column.items()})


def in_card(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """Return columns in the form of `features` as in the YAML block of a card."""
    return [{"name": name, **_card_type(column)} for name, column in columns.items()]


def _card_type(column: dict[str, Any]) -> dict[str, Any]:
    match column.get("_type"):
        case "Value":
            return {"dtype": column["dtype"]}
        case "ClassLabel":
            names = {f"{index}": name for index, name in enumerate(column["names"])}
            return {"dtype": {"class_label": {"names": names}}}
        case "Image":
            return {"dtype": "image"}
        case "List":
            return {"list": in_card(column["feature"])}
    return {"struct": in_card(column)}
