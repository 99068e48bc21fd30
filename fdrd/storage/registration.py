"""Makes `load_dataset("fdrd")` work from every project on this machine, right after a build.

The shards are linked into the cache of `datasets` under the names that its loader looks for when the Hub
has no dataset of that name: `<cache>/<name>/<config>/<version>/<digest>/`, as `datasets` 4 and 5 read it.
"""

from __future__ import annotations

import glob
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa

from fdrd.record import features
from fdrd.storage.publish import link_or_copy
from fdrd.storage.shard_file import PARQUET, read_batches, read_schema

VERSION = "0.0.0"
MARKER = "registered_by_fdrd.txt"


def register(folder: Path, manifest: dict[str, Any]) -> list[str]:
    """Registers a built dataset under its name: the config `default` for all domains, and one for each.

    Returns:
        The names of the configs. What an earlier build registered under the name is removed.
    """
    from datasets import config as datasets_config

    name = manifest["name"]
    root = Path(datasets_config.HF_DATASETS_CACHE).expanduser() / name
    domains = sorted(manifest["splits"])
    for stale in root.glob(f"*/*/*/{MARKER}"):
        shutil.rmtree(stale.parent)
    # `default` comes last: without a config name the loader takes the newest folder.
    for number, config in enumerate([*domains, "default"]):
        shards = [shard for shard in manifest["shards"] if config in ("default", shard["domain"])]
        # One digest for each config: the loader refuses two configs under one.
        target = root / config / VERSION / f"{manifest['digest'][:60]}{number:04x}"
        _write_config(folder, target, name, config, shards, manifest["categories"])
    return [*domains, "default"]


def registered_shards(name: str, config: str, split: str) -> list[Path]:
    """The shards of a split that a build registered under a name; none where there is no such thing.

    For those who need not ask the Hub first, as the loader of `datasets` does.
    """
    from datasets import DatasetInfo
    from datasets import config as datasets_config
    from datasets.naming import filenames_for_dataset_split

    if "/" in name or name in (".", ".."):
        return []  # a Hub id or a path, which no build registers
    root = Path(datasets_config.HF_DATASETS_CACHE).expanduser() / name
    for marker in root.glob(f"{glob.escape(config)}/*/*/{MARKER}"):
        splits = DatasetInfo.from_directory(str(marker.parent)).splits or {}
        if split in splits:
            files = filenames_for_dataset_split(
                str(marker.parent),
                name,
                split,
                filetype_suffix="arrow",
                shard_lengths=splits[split].shard_lengths,
            )
            return [Path(file) for file in files]
    return []


def _write_config(
    folder: Path,
    target: Path,
    name: str,
    config: str,
    shards: list[dict[str, Any]],
    categories: list[str],
) -> None:
    from datasets import DatasetInfo, SplitDict, SplitInfo, Version
    from datasets.naming import filenames_for_dataset_split

    partial = target.with_name(f".{target.name}")  # a leading dot hides it from the loader
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    splits = SplitDict(dataset_name=name)
    for split in dict.fromkeys(shard["split"] for shard in shards):
        of_split = [shard for shard in shards if shard["split"] == split]
        lengths = [shard["rows"] for shard in of_split]
        size = sum(shard["bytes"] for shard in of_split)
        splits.add(SplitInfo(split, size, sum(lengths), shard_lengths=lengths, dataset_name=name))
        names = filenames_for_dataset_split(
            str(partial), name, split, filetype_suffix="arrow", shard_lengths=lengths
        )
        for shard, path in zip(of_split, names, strict=True):
            _as_arrow(folder / shard["path"], Path(path))
    DatasetInfo(
        features=features(categories),
        splits=splits,
        builder_name=name,
        dataset_name=name,
        config_name=config,
        version=Version(VERSION),
        dataset_size=sum(shard["bytes"] for shard in shards),
    ).write_to_directory(str(partial))
    (partial / MARKER).write_text(f"{os.fspath(folder.resolve())}\n", encoding="utf-8")
    if target.exists():
        shutil.rmtree(target)
    partial.rename(target)


def _as_arrow(shard: Path, target: Path) -> None:
    """A second name for an Arrow shard; of a Parquet one its rows as Arrow, as the cache holds nothing else."""
    if shard.suffix != PARQUET:
        link_or_copy(shard, target)
        return
    schema = read_schema(shard)
    with target.open("wb") as file, pa.ipc.new_stream(file, schema) as stream:
        for batch in read_batches(shard):
            stream.write_batch(batch.cast(schema))
