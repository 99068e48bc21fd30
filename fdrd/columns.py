"""The columns of a dataset in the forms of `datasets`, without importing it, which takes a second and pandas.

`tests/fdrd/test_columns.py` compares each form with what `datasets` writes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

CATEGORY_NAME = "category_name"
"""A column of Parquet shards, for readers that do not know what the number of a category means."""

_TEXT = {"dtype": "string", "_type": "Value"}
_INTEGER = {"dtype": "int32", "_type": "Value"}
_ATTRIBUTE = {"type": _TEXT, "value": _TEXT, "start": _INTEGER, "end": _INTEGER}
_NEGATIVE = dict.fromkeys(("caption", "category", "kind", "attribute_type"), _TEXT)


def features(categories: Sequence[str], *, named: bool = False) -> dict[str, Any]:
    """Return the columns of a dataset with these fine categories, in Parquet with their names.

    The form is that of `datasets.Features.to_dict`.
    """
    return {
        "id": _TEXT,
        "image": {"_type": "Image"},
        "caption": _TEXT,
        "category": {"names": list(categories), "_type": "ClassLabel"},
        **({CATEGORY_NAME: _TEXT} if named else {}),
        "meta_category": _TEXT,
        "domain": _TEXT,
        "attributes": {"feature": _ATTRIBUTE, "_type": "List"},
        "negatives": {"feature": _NEGATIVE, "_type": "List"},
        "group": _TEXT,
        "source": dict.fromkeys(("file", "sha256", "license", "origin"), _TEXT),
        "width": _INTEGER,
        "height": _INTEGER,
    }


def arrow_schema(categories: Sequence[str], *, named: bool = False) -> pa.Schema:
    """Return the Arrow schema of a dataset, with the metadata that `datasets` reads."""
    import pyarrow as pa

    def arrow_type(column: dict[str, Any]) -> pa.DataType:
        match column.get("_type"):
            case "Value":
                return pa.type_for_alias(column["dtype"])
            case "ClassLabel":
                return pa.int64()
            case "Image":
                return pa.struct({"bytes": pa.binary(), "path": pa.string()})
            case "List":
                return pa.list_(arrow_type(column["feature"]))
        return pa.struct({name: arrow_type(each) for name, each in column.items()})

    columns = features(categories, named=named)
    metadata = json.dumps({"info": {"features": columns}})
    return pa.schema(arrow_type(columns)).with_metadata({"huggingface": metadata})


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
