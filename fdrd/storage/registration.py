"""Register a build, so that `load_dataset("fdrd")` works from every project on this machine.

`datasets.load_dataset` asks the Hub first, where the name may be another dataset; `fdrd.load` does not.

The shards are linked into the cache of `datasets`, where its loader looks if the Hub has no dataset of that
name: `<cache>/<name>/<config>/<version>/<digest>/`. `datasets` 4 and 5 use this layout, and of several folders take
the newest. A name belongs to the first folder that took it, until that folder is gone or has another name.
"""

import glob
import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import sleep, time, time_ns
from typing import Any

import pyarrow as pa

from fdrd.columns import features
from fdrd.storage.manifest import Manifest, Shard
from fdrd.storage.publish import link_or_copy
from fdrd.storage.shard_file import PARQUET, read_batches, read_schema

VERSION = "0.0.0"
MARKER = "registered_by_fdrd.txt"
_INFO = "dataset_info.json"
_SECOND = 1_000_000_000  # in nanoseconds, and the coarsest time of change that file systems keep
_READING = 0.5  # seconds in which a process that found a folder opens its files
_DAY = 24 * 60 * 60  # seconds after which no process still reads a list of folders


@dataclass(frozen=True)
class Registration:
    """The configs for `load_dataset(<name>, <config>)`, one per domain and `default` for all, or why there are none."""

    configs: Sequence[str]
    owner: Path | None = None  # the other folder that the name belongs to
    failure: str = ""  # e.g. a cache that cannot be written


def register(folder: Path, manifest: Manifest) -> Registration:
    """Register a built dataset under its name, unless the name belongs to the dataset of another folder.

    A lock keeps builds of several projects apart: the name stands for one of them, never for a mixture.
    A cache that cannot be written is no error, because the dataset is complete without a registration.
    """
    from filelock import FileLock

    root = _root(manifest.name)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root.with_name(f".{root.name}.fdrd.lock")):
            owner = registered_folder(root.name)
            if owner not in (None, folder.resolve()):
                return Registration([], owner)
            return Registration(_register(folder, manifest, root))
    except OSError as error:
        return Registration([], failure=f"{error.filename or root}: {error.strerror or error}")


def registered_folder(name: str) -> Path | None:
    """Return the folder of the build that a name stands for, or None."""
    for marker in _markers(name, "*"):
        folder = Path(marker.read_text(encoding="utf-8").strip())
        if _has_name(folder, name):
            return folder
    return None


def _has_name(folder: Path, name: str) -> bool:
    """Return whether a folder is a dataset that was built under a name. A damaged one still owns its name."""
    try:
        return bool(json.loads((folder / "manifest.json").read_bytes()).get("name", name) == name)
    except OSError:
        return False
    except (ValueError, AttributeError, RecursionError):
        return True


def _markers(name: str, config: str) -> list[Path]:
    """Return the markers of the folders of a config, the newest first, which the loader takes."""
    if "/" in name or name in (".", ".."):  # a Hub id or a path
        return []
    found = _root(name).glob(f"{config}/{VERSION}/*/{MARKER}")
    shown = [marker for marker in found if not marker.parent.name.startswith(".")]
    return sorted(shown, key=lambda marker: marker.parent.stat().st_mtime_ns, reverse=True)


def _root(name: str) -> Path:
    from huggingface_hub.constants import HF_HOME

    # Importing `datasets` takes seconds, and a wrong name is to be answered at once.
    if loaded := sys.modules.get("datasets"):
        folder = loaded.config.HF_DATASETS_CACHE
    else:
        folder = os.environ.get("HF_DATASETS_CACHE") or Path(HF_HOME) / "datasets"
    return Path(folder).expanduser() / name


def _register(folder: Path, manifest: Manifest, root: Path) -> list[str]:
    configs = [*sorted(manifest.splits), "default"]
    targets, missing = {}, {}
    for index, config in enumerate(configs):
        # The loader needs a different digest for each config.
        target = root / config / VERSION / f"{manifest.digest[:60]}{index:04x}"
        shards = [each for each in manifest.shards if config in ("default", each.domain)]
        targets[config] = target
        if not _is_complete(folder, target, len(shards)):
            missing[config] = shards
    _remove(root.glob(f"*/{VERSION}/.*"))  # a kill left them
    known = list(root.glob(f"*/{VERSION}/*"))
    retired = [path for path in known if [file.name for file in path.iterdir()] == [_INFO]]
    _remove(path for path in retired if path.stat().st_mtime < time() - _DAY)
    earlier = [path for path in known if (path / MARKER).is_file()]
    replaced = set(earlier) - set(targets.values())
    if not missing and not replaced:
        return configs
    try:
        for config, shards in missing.items():
            columns = features(manifest.categories, manifest.columns)
            _write_hidden(folder, targets[config], root.name, config, shards, columns)
        _show(targets, earlier)
    except OSError:
        _remove(earlier)  # no name for what is no longer in the folder
        raise
    finally:
        _remove(root.glob(f"*/{VERSION}/.*"))
    if replaced:
        sleep(_READING)
        for path in replaced:
            _retire(path)
    return configs


def _show(targets: dict[str, Path], earlier: list[Path]) -> None:
    """Rename complete hidden folders, so that a reader finds the old dataset or the new one at any time.

    The loader takes the newest folder, of all configs if none is named. So `default` is the newest and comes first.
    """
    latest = max((path.stat().st_mtime_ns for path in earlier), default=0)
    now = max(time_ns(), latest + 2 * _SECOND)
    for config in ("default", *(config for config in targets if config != "default")):
        target, hidden = targets[config], _hidden(targets[config])
        changed = now if config == "default" else now - _SECOND
        if hidden.is_dir():
            os.utime(hidden, ns=(changed, changed))
            if target.exists():  # incomplete, or of a folder that is gone
                target.rename(target.with_name(f"{hidden.name}.old"))
            hidden.rename(target)
        else:
            os.utime(target, ns=(changed, changed))


def _hidden(target: Path) -> Path:
    return target.with_name(f".{target.name}")  # a leading dot hides it from the loader


def _is_complete(folder: Path, target: Path, shards: int) -> bool:
    """Return whether an earlier run registered this build, whose digest is in the target's name."""
    marker = target / MARKER
    return (
        marker.is_file()
        and marker.read_text(encoding="utf-8").strip() == str(folder.resolve())
        and (target / _INFO).is_file()
        and len(list(target.glob("*.arrow"))) == shards
    )


def _remove(folders: Iterable[Path]) -> None:
    for folder in list(folders):
        shutil.rmtree(folder, ignore_errors=True)


def _retire(folder: Path) -> None:
    """Remove all but the description and keep the time: the loader fails if a folder that it listed is gone."""
    if not (folder / _INFO).is_file():
        shutil.rmtree(folder)
        return
    changed, hidden = folder.stat().st_mtime_ns, _hidden(folder)
    retired = folder.with_name(f"{hidden.name}.retired")
    retired.mkdir()
    shutil.copyfile(folder / _INFO, retired / _INFO)
    os.utime(retired, ns=(changed, changed))
    folder.rename(hidden)
    retired.rename(folder)
    shutil.rmtree(hidden)


def registered_shards(name: str, config: str) -> dict[str, list[Path]]:
    """Return the registered shards of each split, all of one build. Unlike `load_dataset`, never ask the Hub."""
    from datasets import DatasetInfo
    from datasets.naming import filenames_for_dataset_split

    if not (markers := _markers(name, glob.escape(config))):
        return {}
    folder = str(markers[0].parent)
    return {
        split: [
            Path(file)
            for file in filenames_for_dataset_split(
                folder, name, split, "arrow", info.shard_lengths
            )
        ]
        for split, info in (DatasetInfo.from_directory(folder).splits or {}).items()
    }


def _write_hidden(
    folder: Path, target: Path, name: str, config: str, shards: list[Shard], columns: dict[str, Any]
) -> None:
    partial = _hidden(target)
    partial.mkdir(parents=True)
    splits: dict[str, dict[str, Any]] = {}
    for split in dict.fromkeys(shard.split for shard in shards):
        parts = [shard for shard in shards if shard.split == split]
        splits[split] = {
            "name": split,
            "num_bytes": sum(shard.bytes for shard in parts),
            "num_examples": sum(shard.rows for shard in parts),
            "shard_lengths": [shard.rows for shard in parts],
            "dataset_name": name,
        }
        for index, shard in enumerate(parts):
            suffix = f"-{index:05d}-of-{len(parts):05d}" if len(parts) > 1 else ""
            _link_as_arrow(folder / shard.path, partial / f"{name}-{split}{suffix}.arrow")
    # What `DatasetInfo.write_to_directory` writes.
    info = {
        **dict.fromkeys(("description", "citation", "homepage", "license"), ""),
        "features": columns,
        **dict.fromkeys(("builder_name", "dataset_name"), name),
        "config_name": config,
        "version": {"version_str": VERSION, "major": 0, "minor": 0, "patch": 0},
        "splits": splits,
        "dataset_size": sum(shard.bytes for shard in shards),
    }
    (partial / _INFO).write_text(json.dumps(info), encoding="utf-8")
    (partial / MARKER).write_text(f"{os.fspath(folder.resolve())}\n", encoding="utf-8")


def _link_as_arrow(shard: Path, target: Path) -> None:
    """Link an Arrow shard, or convert a Parquet shard: the cache contains Arrow only."""
    if shard.suffix != PARQUET:
        link_or_copy(shard, target)
        return
    schema = read_schema(shard)
    with target.open("wb") as file, pa.ipc.new_stream(file, schema) as stream:
        for batch in read_batches(shard):
            stream.write_batch(batch.cast(schema))
