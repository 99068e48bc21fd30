"""Register a build, so that `load_dataset("fdrd")` works from every project on this machine.

`datasets.load_dataset` asks the Hub first, where the name may be another dataset; `fdrd.load_dataset` does not.

The shards are linked into the cache of `datasets`, where its loader looks if the Hub has no dataset of that
name: `<cache>/<name>/<config>/<version>/<digest>/`. `datasets` 4 and 5 use this layout.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from fdrd.columns import features
from fdrd.storage.publish import link_or_copy
from fdrd.storage.shard_file import PARQUET, read_batches, read_schema

VERSION = "0.0.0"
MARKER = "registered_by_fdrd.txt"


@dataclass(frozen=True)
class Registration:
    """A name that now stands for a build.

    Attributes:
        configs: names for `load_dataset(<name>, <config>)`: one per domain, and `default` for all of them.
        replaced: the folder that the name pointed to before, if that dataset still exists.
        failure: why the name does not stand for the build, e.g. a cache that cannot be written.
    """

    configs: Sequence[str]
    replaced: Path | None = None
    failure: str = ""


def register(folder: Path, manifest: dict[str, Any]) -> Registration:
    """Register a built dataset under its name, replacing an earlier registration.

    A lock keeps builds of several projects apart: the name stands for one of them, never for a mixture.
    A cache that cannot be written is no error, because the dataset is complete without a registration.
    """
    from filelock import FileLock

    root = _root(manifest["name"])
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root.with_name(f".{root.name}.fdrd.lock")):
            before = registered_folder(root.name)
            configs = _register(folder, manifest, root)
    except OSError as error:
        return Registration([], failure=f"{error.filename or root}: {error.strerror or error}")
    moved = before is not None and before != folder.resolve()
    return Registration(configs, before if moved else None)


def registered_folder(name: str) -> Path | None:
    """Return the folder of the build that a name stands for, or None."""
    for marker in _root(name).glob(f"*/*/*/{MARKER}") if _is_name(name) else ():
        folder = Path(marker.read_text(encoding="utf-8").strip())
        if (folder / "manifest.json").is_file():
            return folder
    return None


def _root(name: str) -> Path:
    # Importing `datasets` takes seconds, and a wrong name is to be answered at once.
    loaded = sys.modules.get("datasets")
    if loaded is not None:
        return Path(loaded.config.HF_DATASETS_CACHE).expanduser() / name
    from huggingface_hub.constants import HF_HOME

    folder = os.environ.get("HF_DATASETS_CACHE") or Path(HF_HOME) / "datasets"
    return Path(folder).expanduser() / name


def _is_name(text: str) -> bool:
    return "/" not in text and text not in (".", "..")  # neither a Hub id nor a path


def _register(folder: Path, manifest: dict[str, Any], root: Path) -> list[str]:
    # `default` comes last because the loader takes the newest folder if no config is named.
    configs = [*sorted(manifest["splits"]), "default"]
    # The loader needs a different digest for each config.
    targets = {
        config: root / config / VERSION / f"{manifest['digest'][:60]}{number:04x}"
        for number, config in enumerate(configs)
    }
    shards = {
        config: [each for each in manifest["shards"] if config in ("default", each["domain"])]
        for config in configs
    }
    if all(_is_complete(folder, targets[config], len(shards[config])) for config in configs):
        return configs
    _clear(root)
    for config in configs:
        try:
            _write_config(
                folder, targets[config], root.name, config, shards[config], manifest["categories"]
            )
        except OSError:
            _clear(root)  # the loader would take one domain for all
            raise
    return configs


def _is_complete(folder: Path, target: Path, shards: int) -> bool:
    """Return whether an earlier run registered this build, whose digest is in the target's name."""
    marker = target / MARKER
    return (
        marker.is_file()
        and marker.read_text(encoding="utf-8").strip() == os.fspath(folder.resolve())
        and (target / "dataset_info.json").is_file()
        and len(list(target.glob("*.arrow"))) == shards
    )


def _clear(root: Path) -> None:
    """Remove earlier registrations, and what a kill left of one."""
    for path in root.glob(f"*/{VERSION}/*"):
        if (path / MARKER).is_file() or path.name.startswith("."):
            shutil.rmtree(path)


def registered_shards(name: str, config: str, split: str) -> list[Path]:
    """Return the registered shards of a split, or an empty list. Unlike `load_dataset`, never ask the Hub."""
    from datasets import DatasetInfo
    from datasets.naming import filenames_for_dataset_split

    if not _is_name(name):
        return []
    for marker in _root(name).glob(f"{glob.escape(config)}/*/*/{MARKER}"):
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
    partial = target.with_name(f".{target.name}")  # a leading dot hides it from the loader
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    splits: dict[str, dict[str, Any]] = {}
    for split in dict.fromkeys(shard["split"] for shard in shards):
        of_split = [shard for shard in shards if shard["split"] == split]
        lengths = [shard["rows"] for shard in of_split]
        size = sum(shard["bytes"] for shard in of_split)
        splits[split] = {
            "name": split,
            "num_bytes": size,
            "num_examples": sum(lengths),
            "shard_lengths": lengths,
            "dataset_name": name,
        }
        for number, shard in enumerate(of_split):
            part = f"-{number:05d}-of-{len(of_split):05d}" if len(of_split) > 1 else ""
            _link_as_arrow(folder / shard["path"], partial / f"{name}-{split}{part}.arrow")
    # What `DatasetInfo.write_to_directory` writes.
    info = {
        **dict.fromkeys(("description", "citation", "homepage", "license"), ""),
        "features": features(categories),
        **dict.fromkeys(("builder_name", "dataset_name"), name),
        "config_name": config,
        "version": {"version_str": VERSION, "major": 0, "minor": 0, "patch": 0},
        "splits": splits,
        "dataset_size": sum(shard["bytes"] for shard in shards),
    }
    (partial / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    (partial / MARKER).write_text(f"{os.fspath(folder.resolve())}\n", encoding="utf-8")
    if target.exists():
        shutil.rmtree(target)
    partial.rename(target)


def _link_as_arrow(shard: Path, target: Path) -> None:
    """Link an Arrow shard, or convert a Parquet shard: the cache contains Arrow only."""
    if shard.suffix != PARQUET:
        link_or_copy(shard, target)
        return
    schema = read_schema(shard)
    with target.open("wb") as file, pa.ipc.new_stream(file, schema) as stream:
        for batch in read_batches(shard):
            stream.write_batch(batch.cast(schema))
