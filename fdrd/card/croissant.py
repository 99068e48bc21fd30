"""Croissant 1.1 metadata (MLCommons) of a built dataset: files, splits, columns, licenses, and provenance.

Paths are relative to croissant.json, so a copy of the folder is enough to read it. `mlcroissant` reads records
from Parquet shards only; it has no reader for Arrow streams.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fdrd.card.front_matter import TAGS

_TEMPLATE = Path(__file__).with_name("croissant_template.json")
_FORMATS = {"parquet": "application/x-parquet", "arrow": "application/vnd.apache.arrow.stream"}
# Matches its own result, because mlcroissant applies it again after a join.
_SPLIT_OF_PATH = r"^(?:data/.*/)?(train|validation|test)(?:-[^/]*)?$"


def croissant(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON-LD of a dataset."""
    template: dict[str, Any] = json.loads(_TEMPLATE.read_text(encoding="utf-8"))
    fields = template.pop("fields")
    domains, records = list(manifest["splits"]), manifest["records"]
    configs = {"default": domains, **{domain: [domain] for domain in domains}}
    ending = manifest["shards"][0]["path"].rpartition(".")[2]
    splits = list(dict.fromkeys(shard["split"] for shard in manifest["shards"]))
    return template | {
        "name": manifest["name"],
        "description": (
            f"{records['kept']} image-caption pairs of {len(manifest['categories'])} fine categories, with "
            "attribute spans and hard negative captions, for image-text retrieval."
        ),
        "identifier": f"sha256:{manifest['digest']}",
        "license": [_license(name) for name in manifest["licences"]],
        "keywords": [tag for tag in TAGS if ":" not in tag],
        "isBasedOn": [_origin(domain) for domain in manifest["domains"]],
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "name": "fdrd build",
            "description": ", ".join(f"{k} {v}" for k, v in sorted(manifest["libraries"].items())),
        },
        "rai:dataPreprocessingProtocol": (
            f"{records['read']} records were read, {records['rejected']} rejected (see rejected.jsonl). Images "
            "were fully decoded, duplicates and leaks between splits were removed, attributes were extracted, "
            "and hard negatives were generated."
        ),
        "distribution": [
            *(_shard(shard, _FORMATS[ending]) for shard in manifest["shards"]),
            *(
                {
                    "@type": "cr:FileSet",
                    "@id": f"files-of-{_id(config)}",
                    "name": f"files of {config}",
                    "description": f"Shards of the config {config}.",
                    "encodingFormat": _FORMATS[ending],
                    "includes": [f"data/{domain}/*.{ending}" for domain in members],
                }
                for config, members in configs.items()
            ),
        ],
        "recordSet": [
            _enumeration("splits", "cr:Split", splits),
            _enumeration("categories", "cr:Label", manifest["categories"]),
            *(_records(config, fields) for config in configs),
        ],
    }


def _id(name: str) -> str:
    """Return a name as an identifier without white space; different names give different identifiers.

    >>> _id("data/birds/train-00000-of-00001.arrow"), _id("my birds")
    ('data/birds/train-00000-of-00001.arrow', 'my_birds-6df8ca')
    """
    plain = re.sub(r"[^A-Za-z0-9._/-]", "_", name)
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _license(name: str) -> str:
    """Return the URL of an SPDX license; other names are returned as they are."""
    is_spdx = re.fullmatch(r"[A-Z][A-Za-z0-9]*(-[A-Za-z0-9.]+)+", name)
    return f"https://spdx.org/licenses/{name}.html" if is_spdx else name


def _origin(domain: Mapping[str, Any]) -> dict[str, Any]:
    keys = {"license": "licence", "url": "homepage", "citation": "citation"}
    known = {key: domain[said] for key, said in keys.items() if domain.get(said)}
    return {"@type": "sc:Dataset", "name": domain["name"], **known}


def _shard(shard: Mapping[str, Any], encoding: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": _id(shard["path"]),
        "name": shard["path"],
        "contentUrl": shard["path"],
        "contentSize": f"{shard['bytes']} B",
        "encodingFormat": encoding,
        "sha256": shard["sha256"],
    }


def _enumeration(name: str, kind: str, values: Sequence[str]) -> dict[str, Any]:
    """Return a record set of numbered names."""
    columns = {"name": "sc:Text", "number": "sc:Integer"}
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "dataType": kind,
        "key": {"@id": f"{name}/name"},
        "field": [
            {"@type": "cr:Field", "@id": f"{name}/{column}", "name": column, "dataType": type_}
            for column, type_ in columns.items()
        ],
        "data": [{f"{name}/name": value, f"{name}/number": n} for n, value in enumerate(values)],
    }


def _records(config: str, fields: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the record set of a config, with one record per image-caption pair."""
    files = {"fileSet": {"@id": f"files-of-{_id(config)}"}}
    split = {
        "@type": "cr:Field",
        "@id": f"{_id(config)}/split",
        "name": "split",
        "description": "train, validation, or test.",
        "dataType": "sc:Text",
        "source": {
            **files,
            "extract": {"fileProperty": "fullpath"},
            "transform": {"regex": _SPLIT_OF_PATH},
        },
        "references": {"field": {"@id": "splits/name"}},
    }
    return {
        "@type": "cr:RecordSet",
        "@id": _id(config),
        "name": config,
        "description": f"Image-caption pairs of the config {config}.",
        "field": [split, *(_field(_id(config), field, files) for field in fields)],
    }


def _field(parent: str, field: dict[str, Any], files: dict[str, Any]) -> dict[str, Any]:
    """Return a field of the template with its identifier and source."""
    parts, path = field.get("subField", ()), field.get("jsonPath")
    name, column = f"{parent}/{field['name']}", field.get("column", field["name"])
    known = {key: value for key, value in field.items() if key not in ("jsonPath", "column")}
    made = {"@type": "cr:Field", "@id": name, **known}
    if parts:
        inner = ({**part, "column": column, "jsonPath": part["name"]} for part in parts)
        return {**made, "subField": [_field(name, part, files) for part in inner]}
    transform = {"transform": {"jsonPath": path}} if path else {}
    return {**made, "source": {**files, "extract": {"column": column}, **transform}}
