"""Croissant metadata (MLCommons, version 1.1) of a built dataset: files, splits, columns, licences, provenance.

Paths are relative to croissant.json, so that a copy of the folder is enough to read it. Records can be read by
`mlcroissant` from Parquet shards; it has no reader of Arrow streams, and for those the file describes only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from fdrd.card.croissant_context import CONTEXT
from fdrd.card.front_matter import PAPER, TAGS

_FORMATS = {".parquet": "application/x-parquet", ".arrow": "application/vnd.apache.arrow.stream"}
_CITATION = (
    "@article{dcar, title={Dual Prompt Learning for Adapting Vision-Language Models to Downstream "
    f"Image-Text Retrieval}}, journal={{arXiv preprint arXiv:{PAPER}}}, year={{2025}}}}"
)
# Column, type, what it holds; the parts of a structured column stand in a mapping.
_COLUMNS: tuple[tuple[str, str | dict[str, str], str], ...] = (
    ("id", "sc:Text", "Unique name of the pair."),
    ("image", "sc:ImageObject", "The bytes of the source file."),
    ("caption", "sc:Text", "Names the category and describes what can be seen."),
    ("category", "cr:Label", "Number of the fine category, a row of the record set `categories`."),
    ("meta_category", "sc:Text", "The coarse class, where the source gives one."),
    ("domain", "sc:Text", "The part of the dataset, named after the source's folder."),
    (
        "attributes[]",
        {"type": "sc:Text", "value": "sc:Text", "start": "sc:Integer", "end": "sc:Integer"},
        "Spans of the caption, in characters, that describe the image.",
    ),
    (
        "negatives[]",
        {
            "caption": "sc:Text",
            "category": "sc:Text",
            "kind": "sc:Text",
            "attribute_type": "sc:Text",
        },
        "Hard negatives: captions that are wrong for the image in one thing.",
    ),
    ("group", "sc:Text", "What a split does not tear apart."),
    (
        "source",
        {"file": "sc:Text", "sha256": "sc:Text", "license": "sc:Text", "origin": "sc:Text"},
        "Provenance of the pair: file, digest and licence of the image, place of the caption.",
    ),
    ("width", "sc:Integer", "In pixels."),
    ("height", "sc:Integer", "In pixels."),
)


def croissant(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON-LD of a dataset."""
    splits = list(dict.fromkeys(shard["split"] for shard in manifest["shards"]))
    domains = list(manifest["splits"])
    configs = {"default": domains, **{domain: [domain] for domain in domains}}
    kept = manifest["records"]["kept"]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": manifest["name"],
        "description": (
            f"{kept} image-caption pairs of {len(manifest['categories'])} fine categories, with "
            "attribute spans and hard negative captions, for image-text retrieval."
        ),
        "version": "1.0.0",
        "identifier": f"sha256:{manifest['digest']}",
        "license": [_licence(name) for name in manifest["licences"]],
        "citeAs": _CITATION,
        "keywords": [tag for tag in TAGS if ":" not in tag],
        "isBasedOn": [_origin(domain) for domain in manifest["domains"]],
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "name": "fdrd build",
            "description": ", ".join(f"{k} {v}" for k, v in sorted(manifest["libraries"].items())),
        },
        "rai:dataPreprocessingProtocol": (
            f"{manifest['records']['read']} records were read, {manifest['records']['rejected']} "
            "rejected (rejected.jsonl says why); images were decoded to the last row, duplicates "
            "and leaks between splits removed, attributes found, hard negatives drawn."
        ),
        "distribution": [
            *(_shard(shard) for shard in manifest["shards"]),
            *(_file_set(name, of, manifest) for name, of in configs.items()),
        ],
        "recordSet": [
            _enumeration("splits", "cr:Split", splits),
            _enumeration("categories", "cr:Label", manifest["categories"]),
            *(_records(name) for name in configs),
        ],
    }


def _id(name: str) -> str:
    """A name as an identifier, which may hold no white space; unlike names stay unlike.

    >>> _id("data/birds/train-00000-of-00001.arrow"), _id("my birds")
    ('data/birds/train-00000-of-00001.arrow', 'my_birds-6df8ca')
    """
    plain = re.sub(r"[^A-Za-z0-9._/-]", "_", name)
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _licence(name: str) -> str:
    """The address of an SPDX licence, or the name that the source gave."""
    return (
        f"https://spdx.org/licenses/{name}.html"
        if re.fullmatch(r"[A-Z][A-Za-z0-9]*(-[A-Za-z0-9.]+)+", name)
        else name
    )


def _origin(domain: Mapping[str, Any]) -> dict[str, Any]:
    found = {"@type": "sc:Dataset", "name": domain["name"]}
    for key, said in (("license", "licence"), ("url", "homepage"), ("citation", "citation")):
        if domain.get(said):
            found[key] = domain[said]
    return found


def _shard(shard: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": _id(shard["path"]),
        "name": shard["path"],
        "contentUrl": shard["path"],
        "contentSize": f"{shard['bytes']} B",
        "encodingFormat": _format(shard["path"]),
        "sha256": shard["sha256"],
    }


def _file_set(config: str, domains: list[str], manifest: Mapping[str, Any]) -> dict[str, Any]:
    ending = "." + manifest["shards"][0]["path"].rpartition(".")[2]
    return {
        "@type": "cr:FileSet",
        "@id": f"files-of-{_id(config)}",
        "name": f"files of {config}",
        "description": f"The shards of the config {config}.",
        "encodingFormat": _format(ending),
        "includes": [f"data/{domain}/*{ending}" for domain in domains],
    }


def _format(path: str) -> str:
    return _FORMATS["." + path.rpartition(".")[2]]


def _enumeration(name: str, kind: str, values: list[str]) -> dict[str, Any]:
    """A record set of numbered names."""
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "dataType": kind,
        "key": {"@id": f"{name}/name"},
        "field": [
            {"@type": "cr:Field", "@id": f"{name}/name", "name": "name", "dataType": "sc:Text"},
            {"@type": "cr:Field", "@id": f"{name}/number", "name": "number", "dataType": "sc:Integer"},
        ],
        "data": [
            {f"{name}/name": value, f"{name}/number": number} for number, value in enumerate(values)
        ],
    }  # fmt: skip


def _records(config: str) -> dict[str, Any]:
    """The record set of a config: a row for each image-caption pair."""
    files = {"fileSet": {"@id": f"files-of-{_id(config)}"}}
    split = {
        "@type": "cr:Field",
        "@id": f"{_id(config)}/split",
        "name": "split",
        "description": "train, validation or test.",
        "dataType": "sc:Text",
        "source": {
            **files,
            "extract": {"fileProperty": "fullpath"},
            # Matches what it gives, too: mlcroissant applies it again after a join.
            "transform": {"regex": r"^(?:data/.*/)?(train|validation|test)(?:-[^/]*)?$"},
        },
        "references": {"field": {"@id": "splits/name"}},
    }
    return {
        "@type": "cr:RecordSet",
        "@id": _id(config),
        "name": config,
        "description": f"Image-caption pairs of the config {config}.",
        "field": [split, *(_field(config, *column, files) for column in _COLUMNS)],
    }


def _field(
    config: str, column: str, kind: str | dict[str, str], text: str, files: dict[str, Any]
) -> dict[str, Any]:
    plain = column.removesuffix("[]")
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{_id(config)}/{plain}",
        "name": plain,
        "description": text,
    }
    if isinstance(kind, dict):
        if plain != column:
            field["repeated"] = True
        field["subField"] = [
            {
                "@type": "cr:Field",
                "@id": f"{_id(config)}/{plain}/{part}",
                "name": part,
                "dataType": of,
                "source": {**files, "extract": {"column": plain}, "transform": {"jsonPath": part}},
            }
            for part, of in kind.items()
        ]
        return field
    source = {**files, "extract": {"column": plain}}
    if plain == "image":
        source["transform"] = {"jsonPath": "bytes"}
    return {**field, "dataType": "sc:Integer" if kind == "cr:Label" else kind, "source": source}
