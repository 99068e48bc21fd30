"""The YAML at the head of a card: what the Hub, its viewer and the loader of `datasets` know of a dataset."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fdrd.card.summary import Summary, is_english
from fdrd.errors import FdrdError
from fdrd.record import features

PAPER = "2508.04028"
TAGS = [
    *("image-text-retrieval", "fine-grained", "hard-negatives", "clip", "fdrd"),
    f"arxiv:{PAPER}",
]
MADE = ("license", "license_name", "size_categories", "configs", "dataset_info")
"""Keys that say what the data are: a push writes them anew."""
_BLOCK = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)^---[ \t]*\r?(?:\n|\Z)", re.MULTILINE | re.DOTALL)
_NAMES = 20_000
"""Class names in the YAML above which only the config `default` is described in it."""

# Identifiers that the Hub takes as `license`: the SPDX ones in small letters, as far as sources use them.
_LICENCES = frozenset(
    "apache-2.0 mit afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause c-uda cc cc0-1.0 "
    "cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 "
    "cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 "
    "cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 "
    "epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 "
    "lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl osl-3.0 postgresql ofl-1.1 ncsa unlicense "
    "zlib pddl unknown".split()
)
_ALIASES = {"odc-by-1.0": "odc-by", "odbl-1.0": "odbl", "pddl-1.0": "pddl"}


def front_matter(manifest: Mapping[str, Any], summaries: Sequence[Summary]) -> dict[str, Any]:
    """The metadata of a built dataset."""
    licences = _licences(manifest["licences"])
    data: dict[str, Any] = {"pretty_name": manifest["name"], **licences}
    if is_english(summaries):
        data["language"] = ["en"]
    data |= {
        "task_categories": ["image-to-text", "zero-shot-image-classification"],
        "size_categories": [size_category(manifest["records"]["kept"])],
        "tags": list(TAGS),
        "configs": _configs(manifest),
        "dataset_info": _dataset_info(manifest),
    }
    return data


def dump(data: Mapping[str, Any]) -> str:
    """Front matter as the head of a card."""
    import yaml

    text = yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, line_break="\n")
    return f"---\n{text}---\n"


def split_card(card: str, where: str = "README.md") -> tuple[dict[str, Any], str]:
    """The metadata of a card, and the text below.

    Raises:
        FdrdError: the metadata are no YAML mapping.
    """
    import yaml

    block = _BLOCK.match(card)
    if not block:
        return {}, card
    try:
        data = yaml.safe_load(block[1]) or {}
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        raise FdrdError(
            f"{where}: the metadata at its head are no YAML ({said}); mend them"
        ) from None
    if not isinstance(data, dict):
        raise FdrdError(f"{where}: the metadata at its head are no mapping; mend them")
    return data, card[block.end() :]


def merged(built: Mapping[str, Any], edited: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a build, with what somebody else wrote: `MADE` are the build's, lists are joined, the rest stays.

    >>> merged({"license": ["mit"], "tags": ["a"], "pretty_name": "x"},
    ...        {"license": ["gpl"], "tags": ["b", "a"], "pretty_name": "Mine", "language": ["de"]})
    {'license': ['mit'], 'tags': ['b', 'a'], 'pretty_name': 'Mine', 'language': ['de']}
    """
    data = dict(built)
    for key, value in edited.items():
        if key in MADE:
            continue
        ours = built.get(key)
        if isinstance(value, list) and isinstance(ours, list):
            data[key] = value + [each for each in ours if each not in value]
        else:
            data[key] = value
    return data


def size_category(rows: int) -> str:
    """The Hub's name for a number of rows.

    >>> size_category(999), size_category(1000), size_category(2_400_000)
    ('n<1K', '1K<n<10K', '1M<n<10M')
    """
    if rows < 1000:
        return "n<1K"
    steps = ["1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T"]
    place = len(str(rows)) - 4
    return f"{steps[place]}<n<{steps[place + 1]}" if place < len(steps) - 1 else "n>1T"


def _licences(licences: Mapping[str, int]) -> dict[str, Any]:
    """`license` as a list of the Hub's identifiers; what it does not know is `other`, and named."""
    known: list[str] = []
    others: list[str] = []
    for name in licences:
        plain = name.strip().lower()
        plain = _ALIASES.get(plain, plain)
        (known if plain in _LICENCES else others).append(plain if plain in _LICENCES else name)
    data: dict[str, Any] = {"license": [*dict.fromkeys(known), *(["other"] if others else [])]}
    if others:
        data["license_name"] = ", ".join(others)
    return data


def _configs(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Which shards belong to which config and split."""
    configs = []
    for name, domains in _domains_of_configs(manifest).items():
        shards = [shard for shard in manifest["shards"] if shard["domain"] in domains]
        files = [
            {
                "split": split,
                "path": list(
                    dict.fromkeys(
                        # With the number of shards, so that no other file is taken for one.
                        re.sub(r"-\d{5}-of-", "-*-of-", shard["path"])
                        for shard in shards
                        if shard["split"] == split
                    )
                ),
            }
            for split in dict.fromkeys(shard["split"] for shard in shards)
        ]
        default = {"default": True} if name == "default" else {}
        configs.append({"config_name": name, **default, "data_files": files})
    return configs


def _dataset_info(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Features and sizes of each config, in the form that `datasets` writes and reads."""
    from datasets import DatasetInfo, SplitDict, SplitInfo
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCardData

    categories = manifest["categories"]
    infos = DatasetInfosDict()
    for config, domains in _domains_of_configs(manifest).items():
        if config != "default" and len(categories) * (1 + len(manifest["splits"])) > _NAMES:
            continue
        shards = [shard for shard in manifest["shards"] if shard["domain"] in domains]
        splits = SplitDict()
        for split in dict.fromkeys(shard["split"] for shard in shards):
            of_split = [shard for shard in shards if shard["split"] == split]
            splits.add(
                SplitInfo(
                    split,
                    sum(shard["bytes"] for shard in of_split),
                    sum(shard["rows"] for shard in of_split),
                )
            )
        size = sum(shard["bytes"] for shard in shards)
        infos[config] = DatasetInfo(
            features=features(categories), splits=splits, download_size=size, dataset_size=size
        )
    data = DatasetCardData()
    infos.to_dataset_card_data(data)
    found = data["dataset_info"]
    return found if isinstance(found, list) else [{"config_name": "default", **found}]


def _domains_of_configs(manifest: Mapping[str, Any]) -> dict[str, list[str]]:
    domains = list(manifest["splits"])
    return {"default": domains, **{domain: [domain] for domain in domains}}
