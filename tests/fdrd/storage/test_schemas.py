"""The JSON schemas match the records and reject invalid records."""

import copy
import inspect
import json
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest
from msgspec import json as msgspec_json
from msgspec import to_builtins

from fdrd.build_config import BuildConfig
from fdrd.columns import features
from fdrd.record import (
    Attribute,
    ImageRef,
    NaturalPair,
    Negative,
    Record,
    Source,
    from_json,
)
from fdrd.storage.manifest import Config, Manifest, schema

RECORD = Record(
    "birds/1",
    ImageRef("wren/1.png"),
    "A brown wren.",
    "wren",
    Source("wren/1.png", "0" * 64, "CC0-1.0", "metadata.jsonl: line 1"),
    domain="birds",
    attributes=(Attribute("color", "brown", 2, 7),),
    negatives=(Negative("A brown robin.", "robin", "category"),),
    natural_pairs=(NaturalPair("category", "birds/2"),),
    rules=("caption_glued",),
)


def names(of_class):
    return set(get_type_hints(of_class))


def test_schema_properties_match_the_records():
    properties = schema("record").schema["properties"]
    assert set(properties) == names(Record)
    assert set(properties["image"]["properties"]) == names(ImageRef)
    assert set(properties["source"]["properties"]) == names(Source)
    assert set(properties["attributes"]["items"]["properties"]) == names(Attribute)
    assert set(properties["negatives"]["items"]["properties"]) == names(Negative)
    assert set(properties["natural_pairs"]["items"]["properties"]) == names(NaturalPair)


def test_the_manifest_has_the_options_of_a_build_and_its_schema_is_that_of_its_type():
    assert Config.__struct_fields__ == tuple(field.name for field in fields(BuildConfig))
    written = json.loads(Path("schemas/manifest.schema.json").read_text(encoding="utf-8"))
    generated = msgspec_json.schema(Manifest)
    for type in generated["$defs"].values():  # Python 3.13 removes the indentation of docstrings
        type["description"] = inspect.cleandoc(type["description"])
    assert {key: written[key] for key in written if key not in ("$schema", "$id")} == generated


def test_dataset_columns_match_the_record():
    assert set(features(["a"])) == names(Record) - {"rules", "split", "extra"}


def test_a_record_round_trips_through_json():
    assert from_json(to_builtins(RECORD)) == RECORD
    schema("record").validate(
        to_builtins(RECORD) | {"attributes": [], "negatives": [], "natural_pairs": [], "rules": []}
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("id",), ""),
        (("image", "path"), "/etc/passwd"),
        (("image", "path"), "a/../../b.png"),
        (("caption",), ""),
        (("category",), None),
        (("split",), "val"),
        (("source", "sha256"), "xyz"),
        (("attributes", 0, "start"), -1),
        (("attributes", 0, "value"), ""),
        (("negatives", 0, "kind"), "random"),
        (("natural_pairs", 0, "kind"), "random"),
        (("natural_pairs", 0, "id"), ""),
        (("width",), 1.5),
        (("surprise",), 1),
    ],
)
def test_an_invalid_record_is_rejected_at_the_field(path, value):
    record = copy.deepcopy(to_builtins(RECORD))
    for name in ("attributes", "negatives", "natural_pairs", "rules"):
        record[name] = list(record[name])
    assert list(schema("record").iter_errors(record)) == []
    place = record
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    (error,) = schema("record").iter_errors(record)
    assert path[0] in (*error.absolute_path, *path[:1])
