"""YAML metadata of a card, which the Hub, its dataset viewer, and `datasets` read, and its generated sections.

Sections are between marks that Markdown does not display.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fdrd.checks.tally import Tally
from fdrd.columns import features, in_card
from fdrd.errors import FdrdError
from fdrd.storage.manifest import Manifest, Shard
from fdrd.text.markup import visible

if TYPE_CHECKING:
    from huggingface_hub import RepoCard

TAGS = (*"image-text-retrieval fine-grained hard-negatives clip fdrd".split(), "arxiv:2508.04028")
DATA_KEYS = ("license", "license_name", "size_categories", "configs", "dataset_info")
"""Keys that describe the data; a push overwrites them."""
_MAX_CLASS_NAMES = 20_000  # in the YAML; with more, only the config `default` is described

# Values that the Hub accepts as `license`, restricted to those that sources use.
_LICENSES = frozenset(
    "apache-2.0 mit afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause c-uda cc cc0-1.0 "
    "cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 "
    "cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 "
    "cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 "
    "epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 "
    "lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl osl-3.0 postgresql ofl-1.1 ncsa unlicense "
    "zlib pddl unknown".split()
)
_ALIASES = {"odc-by-1.0": "odc-by", "odbl-1.0": "odbl", "pddl-1.0": "pddl"}

# A mark is a line of its own, so table cells and code cannot be mistaken for one.
_SECTION = re.compile(
    r"^<!-- fdrd:(?P<name>\w+) -->[ \t]*\r?\n(?P<text>.*?)^<!-- /fdrd:(?P=name) -->[ \t]*\r?$",
    re.MULTILINE | re.DOTALL,
)


def front_matter(manifest: Manifest, tallies: Sequence[Tally]) -> dict[str, Any]:
    """Return the metadata of a built dataset. Its language is named if most captions have an English function word."""
    english = sum(tally.english for tally in tallies) > 0.5 * sum(tally.rows for tally in tallies)
    return {
        "pretty_name": manifest.name,
        **_licenses(manifest.licenses),
        **({"language": ["en"]} if english else {}),
        "task_categories": ["image-to-text", "zero-shot-image-classification"],
        "size_categories": [size_category(manifest.records.kept)],
        "tags": list(TAGS),
        "configs": _configs(manifest),
        "dataset_info": _dataset_info(manifest),
    }


def dump(data: Mapping[str, Any]) -> str:
    """Return metadata as the YAML block at the top of a card. Invisible characters are escaped."""
    import yaml
    from huggingface_hub import CardData

    class Dumper(yaml.SafeDumper):
        """Has a representation of text of its own, which `SafeDumper` must not get."""

    def quoted(dumper: Dumper, text: str) -> yaml.ScalarNode:
        style = None if text == visible(text) else '"'  # the style that has escapes
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)

    Dumper.add_representer(str, quoted)
    card = CardData(**data).to_dict()  # type: ignore[no-untyped-call]
    text = yaml.dump(card, Dumper=Dumper, allow_unicode=True, sort_keys=False)
    return f"---\n{visible(text)}---\n"


def merge_cards(built: str, on_hub: str | None, generated_keys: Collection[str], where: str) -> str:
    """Return the card to push: generated sections of `built`, the rest as edited on the Hub.

    Raise `FdrdError` if the YAML of a card is invalid.
    """
    if on_hub is None:
        return built
    card, edited = _parse(built, "the new card"), _parse(on_hub, where)
    edited.text = put_sections(edited.text, sections(card.text))
    merged = merge(vars(card.data), vars(edited.data), generated_keys)
    return f"{dump(merged)}{edited.text}"


def merge(
    built: Mapping[str, Any], edited: Mapping[str, Any], generated_keys: Collection[str]
) -> dict[str, Any]:
    """Return built metadata with hand edits: lists are joined, generated keys are not editable.

    >>> merge({"license": ["mit"], "tags": ["a"], "pretty_name": "x"},
    ...       {"license": ["gpl"], "tags": ["b", "a"], "pretty_name": "Mine", "language": ["de"]}, ["license"])
    {'license': ['mit'], 'tags': ['b', 'a'], 'pretty_name': 'Mine', 'language': ['de']}
    """
    data = dict(built)
    for key, value in edited.items():
        if key in generated_keys:
            continue
        ours = built.get(key)
        if isinstance(value, list) and isinstance(ours, list):
            value = value + [each for each in ours if each not in value]
        data[key] = value
    return data


def size_category(rows: int) -> str:
    """Return the Hub's name for a number of rows.

    >>> size_category(999), size_category(1000), size_category(2_400_000)
    ('n<1K', '1K<n<10K', '1M<n<10M')
    """
    if rows < 1000:
        return "n<1K"
    steps = ["1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T"]
    step = len(str(rows)) - 4
    return f"{steps[step]}<n<{steps[step + 1]}" if step < len(steps) - 1 else "n>1T"


def _parse(card: str, where: str) -> RepoCard:
    from huggingface_hub import RepoCard
    from yaml import YAMLError

    try:
        return RepoCard(card)
    except (YAMLError, ValueError, TypeError) as error:
        raise FdrdError(
            f"{where}: invalid YAML metadata ({' '.join(str(error).split())}); fix it by hand"
        ) from None


def _licenses(licenses: Mapping[str, int]) -> dict[str, Any]:
    """Return `license` as a list of the Hub's identifiers; unknown ones become `other` plus a name."""
    plain = {name: _ALIASES.get(name.strip().lower(), name.strip().lower()) for name in licenses}
    known = dict.fromkeys(each for each in plain.values() if each in _LICENSES)
    others = [name for name, each in plain.items() if each not in _LICENSES]
    if not others:
        return {"license": [*known]}
    return {"license": [*known, "other"], "license_name": ", ".join(others)}


def _shards_of_configs(manifest: Manifest) -> dict[str, dict[str, list[Shard]]]:
    """Return the shards of each config by split: `default` has all domains, then one config per domain."""
    configs: dict[str, dict[str, list[Shard]]] = {"default": {}}
    configs |= {domain: {} for domain in manifest.splits}
    for shard in manifest.shards:
        for config in ("default", shard.domain):
            configs[config].setdefault(shard.split, []).append(shard)
    return configs


def _configs(manifest: Manifest) -> list[dict[str, Any]]:
    configs = []
    for config, splits in _shards_of_configs(manifest).items():
        files = []
        for split, shards in splits.items():
            # The number of shards is part of the pattern, so that no other file matches.
            patterns = (re.sub(r"-\d{5}-of-", "-*-of-", shard.path) for shard in shards)
            files.append({"split": split, "path": list(dict.fromkeys(patterns))})
        default = {"default": True} if config == "default" else {}
        configs.append({"config_name": config, **default, "data_files": files})
    return configs


def _dataset_info(manifest: Manifest) -> list[dict[str, Any]]:
    categories, named = manifest.categories, manifest.config.format == "parquet"
    too_many = len(categories) * (1 + len(manifest.splits)) > _MAX_CLASS_NAMES
    infos = []
    for config, of_config in sorted(_shards_of_configs(manifest).items()):
        if config != "default" and too_many:
            continue
        splits: list[dict[str, Any]] = [
            {
                "name": split,
                "num_bytes": sum(shard.bytes for shard in shards),
                "num_examples": sum(shard.rows for shard in shards),
            }
            for split, shards in of_config.items()
        ]
        size = sum(split["num_bytes"] for split in splits)
        columns = in_card(features(categories, manifest.columns, named=named))
        sizes = {"splits": splits, "download_size": size, "dataset_size": size}
        infos.append({"config_name": config, "features": columns, **sizes})
    return infos


def section(name: str, text: str) -> str:
    """Return a text between the marks of a section."""
    return f"<!-- fdrd:{name} -->\n{text.strip()}\n<!-- /fdrd:{name} -->"


def sections(card: str) -> dict[str, str]:
    """Return the text of each section, in order."""
    return {found["name"]: found["text"].strip() for found in _SECTION.finditer(card)}


def put_section(card: str, name: str, text: str) -> str:
    r"""Return the card with a section replaced, or appended if it is missing.

    >>> card = section("counts", "12 rows") + "\nWritten by hand.\n"
    >>> print(put_section(card, "counts", "13 rows"))
    <!-- fdrd:counts -->
    13 rows
    <!-- /fdrd:counts -->
    Written by hand.
    <BLANKLINE>
    """
    return put_sections(card, {**sections(card), name: text})


def put_sections(card: str, texts: Mapping[str, str]) -> str:
    """Return the card with exactly these sections, new ones at the end; text outside of sections stays."""
    missing = dict(texts)

    def replace(found: re.Match[str]) -> str:
        text = missing.pop(found["name"], None)
        return "" if text is None else section(found["name"], text)

    kept = _SECTION.sub(replace, card)
    added = "\n\n".join(section(name, text) for name, text in missing.items())
    return f"{kept.rstrip()}\n\n{added}\n" if added else kept
