"""The columns of a dataset: their types are those of the fields of a record, in the forms of Arrow and of `datasets`.

`datasets` is not imported, because it takes a second and pandas. `tests/fdrd/test_columns.py` compares each form with
what it writes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct, inspect

from fdrd.record import Record

if TYPE_CHECKING:
    import pyarrow as pa

CATEGORY_NAME = "category_name"
"""A column of Parquet shards, for readers that do not know what the number of a category means."""
COLUMNS = (
    "id", "image", "caption", "category", CATEGORY_NAME, "meta_category", "domain", "attributes",
    "negatives", "group", "source", "width", "height",
)  # fmt: skip
"""The columns in their order. A shard has one split, and the manifest counts the rules."""

_TEXT = {"dtype": "string", "_type": "Value"}
_INTEGER = {"dtype": "int32", "_type": "Value"}


def features(categories: Sequence[str], *, named: bool = False) -> dict[str, Any]:
    """Return the columns of a dataset with these fine categories, in Parquet with their names.

    The form is that of `datasets.Features.to_dict`.
    """
    columns = {
        **_form(inspect.type_info(Record)),
        "image": {"_type": "Image"},
        "category": {"names": list(categories), "_type": "ClassLabel"},
        CATEGORY_NAME: _TEXT,
    }
    return {name: columns[name] for name in COLUMNS if named or name != CATEGORY_NAME}


def arrow_schema(categories: Sequence[str], *, named: bool = False) -> pa.Schema:
    """Return the Arrow schema of a dataset, with the metadata that `datasets` reads."""
    import pyarrow as pa

    columns = features(categories, named=named)
    metadata = json.dumps({"info": {"features": columns}})
    types = _arrow_type(columns, pa.string(), pa.int32())
    return pa.schema(types).with_metadata({"huggingface": metadata})


def struct_schema(type: type[Struct]) -> pa.Schema:
    """Return the Arrow schema of a list of structs of a type: 64-bit offsets and integers, for lists of any length."""
    import pyarrow as pa

    form = _form(inspect.type_info(type))
    return pa.schema(_arrow_type(form, pa.large_string(), pa.int64()))


def _form(type: inspect.Type) -> dict[str, Any]:
    """Return a type of a record in the form of `datasets`."""
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
            return text if column == _TEXT else integer
        case "ClassLabel":
            return pa.int64()
        case "Image":
            return pa.struct({"bytes": pa.binary(), "path": pa.string()})
        case "List":
            return pa.list_(_arrow_type(column["feature"], text, integer))
    return pa.struct({name: _arrow_type(each, text, integer) for name, each in column.items()})


def card_features(categories: Sequence[str], *, named: bool = False) -> list[dict[str, Any]]:
    """Return the columns as in the YAML block of a card."""
    return _named(features(categories, named=named))


def _named(columns: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, **_in_card(column)} for name, column in columns.items()]


def _in_card(column: dict[str, Any]) -> dict[str, Any]:
    match column.get("_type"):
        case "Value":
            return {"dtype": column["dtype"]}
        case "ClassLabel":
            names = {f"{number}": name for number, name in enumerate(column["names"])}
            return {"dtype": {"class_label": {"names": names}}}
        case "Image":
            return {"dtype": "image"}
        case "List":
            return {"list": _named(column["feature"])}
    return {"struct": _named(column)}
