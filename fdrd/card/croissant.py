"""Croissant 1.1 metadata (MLCommons) of a built dataset: files, splits, columns, licenses, and provenance.

The template holds one example of each kind of object. Paths are relative to croissant.json, so a copy of the folder
is enough to read it. `mlcroissant` reads records from Parquet shards only; it has no reader for Arrow streams.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from msgspec.structs import asdict

from fdrd.card.front_matter import TAGS
from fdrd.storage.manifest import DomainEntry, Manifest

_TEMPLATE = Path(__file__).with_name("croissant_template.json")
_SPDX = re.compile(r"\A[A-Z][A-Za-z0-9]*(-[A-Za-z0-9.]+)+\Z")  # other licenses have no URL
_TYPES = {"string": "Text", "int64": "Integer", "float64": "Float", "bool": "Boolean"}
_FORMATS = {"parquet": "application/x-parquet", "arrow": "application/vnd.apache.arrow.stream"}


def croissant(manifest: Manifest) -> dict[str, Any]:
    """Return the JSON-LD of a dataset."""
    template = json.loads(_TEMPLATE.read_text(encoding="utf-8"))
    shard_template, files_template = template.pop("distribution")
    names_template, records_template = template.pop("recordSet")
    shards, domains = manifest.shards, list(manifest.splits)
    configs = {"default": domains, **{domain: [domain] for domain in domains}}
    ending = shards[0].path.rpartition(".")[2]
    format, splits = _FORMATS[ending], list(dict.fromkeys(shard.split for shard in shards))
    dataset = _fill(
        template,
        **asdict(manifest.records),
        name=manifest.name,
        digest=manifest.digest,
        categories=len(manifest.categories) or "no",
        libraries=", ".join(f"{key} {value}" for key, value in sorted(manifest.libraries.items())),
    )
    return dataset | {
        "license": [
            _SPDX.sub(r"https://spdx.org/licenses/\g<0>.html", n) for n in manifest.licenses
        ],
        "keywords": [tag for tag in TAGS if ":" not in tag],
        "isBasedOn": [_origin(domain) for domain in manifest.domains],
        "distribution": [
            *(
                _fill(shard_template, **asdict(shard), id=_id(shard.path), format=format)
                for shard in shards
            ),
            *(
                _fill(files_template, id=_id(config), config=config, format=format)
                | {"includes": [f"data/{domain}/*.{ending}" for domain in members]}
                for config, members in configs.items()
            ),
        ],
        "recordSet": [
            _names(names_template, "splits", "cr:Split", splits),
            _names(names_template, "categories", "cr:Label", manifest.categories),
            *(_records(records_template, config, manifest.columns) for config in configs),
        ],
    }


def _fill(template: Mapping[str, Any], **values: object) -> dict[str, Any]:
    """Return a part of the template with its placeholders replaced."""
    escaped = {key: json.dumps(str(value))[1:-1] for key, value in values.items()}
    filled: dict[str, Any] = json.loads(Template(json.dumps(template)).substitute(escaped))
    return filled


def _id(name: str) -> str:
    """Return a name as an identifier without white space; different names give different identifiers.

    >>> _id("data/birds/train-00000-of-00001.arrow"), _id("my birds")
    ('data/birds/train-00000-of-00001.arrow', 'my_birds-6df8ca')
    """
    plain = re.sub(r"[^A-Za-z0-9._/-]", "_", name)
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _origin(domain: DomainEntry) -> dict[str, Any]:
    about = {"license": domain.license, "url": domain.homepage, "citation": domain.citation}
    known = {key: value for key, value in about.items() if value}
    return {"@type": "sc:Dataset", "name": domain.name, **known}


def _names(
    template: Mapping[str, Any], name: str, type: str, values: Sequence[str]
) -> dict[str, Any]:
    data = [{f"{name}/name": value, f"{name}/number": n} for n, value in enumerate(values)]
    return _fill(template, id=name, type=type) | {"data": data}


def _records(template: Mapping[str, Any], config: str, extra: Mapping[str, str]) -> dict[str, Any]:
    """Return the record set of a config, with one record per image-caption pair and the extra columns."""
    records = _fill(template, id=_id(config), config=config)
    split, *fields = records["field"]
    fields += [
        {"name": name, "description": "As in the source.", "dataType": f"sc:{_TYPES[dtype]}"}
        for name, dtype in extra.items()
    ]
    files = split["source"]["fileSet"]
    return records | {"field": [split, *(_field(_id(config), field, files) for field in fields)]}


def _field(parent: str, field: dict[str, Any], files: dict[str, Any]) -> dict[str, Any]:
    """Return a field of the template with its identifier and source."""
    name, column = f"{parent}/{field['name']}", field.pop("column", field["name"])
    made = {"@type": "cr:Field", "@id": name, **field}
    if "subField" in field:
        parts = [{**part, "column": column, "jsonPath": part["name"]} for part in field["subField"]]
        return {**made, "subField": [_field(name, part, files) for part in parts]}
    path = made.pop("jsonPath", None)
    transform = {"transform": {"jsonPath": path}} if path else {}
    return {**made, "source": {"fileSet": files, "extract": {"column": column}, **transform}}
