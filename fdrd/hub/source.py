"""A dataset of the Hub as a raw source: `hub:ORG/NAME[:CONFIG][@REVISION]`.

`datasets` fetches it, which since its version 4 runs no code of a repository, and it is kept below the cache
of fdrd as `save_to_disk` writes it: a folder in the layout `saved_dataset`, for one commit and for good,
with a `domain.toml` that says where it is from.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from fdrd.errors import FdrdError
from fdrd.files.cache import cache_folder
from fdrd.hub.client import open_client, readable_errors
from fdrd.progress import Progress, silent

PREFIX = "hub:"
_SPEC = re.compile(r"hub:([\w.-]+/[\w.-]+)(?::([\w.-]+))?(?:@([\w.-][\w./-]*))?")
_SHARD = "500MB"  # named, so that the same commit gives the same files everywhere
_COMMIT = re.compile(r"[0-9a-f]{40}")


def local_source(source: str | Path, progress: Progress = silent) -> Path:
    """The folder of a source: itself, or where a dataset of the Hub now lies.

    Raises:
        FdrdError: the name is not understood, the Hub has no such dataset, or does not answer.
    """
    text = str(source)
    if not text.startswith(PREFIX):
        return Path(source)
    found = _SPEC.fullmatch(text)
    if not found:
        raise FdrdError(
            f"{text!r} names no dataset of the Hub; write hub:ORG/NAME, and behind it :CONFIG, "
            "@REVISION, or both"
        )
    name, config, revision = found.groups()
    if revision and _COMMIT.fullmatch(revision) and _target(name, config, revision).is_dir():
        return _target(name, config, revision)  # no need to ask
    with readable_errors(name):
        info = open_client(must_write=False).dataset_info(name, revision=revision)
    target = _target(name, config, str(info.sha))
    if not target.is_dir():
        progress(f"fetching {name}", 0, 0)
        licence = info.card_data.get("license") if info.card_data else ""
        _fetch(name, config, str(info.sha), target, licence if isinstance(licence, str) else "")
        progress(f"fetching {name}", 1, 1)
    return target


def _target(name: str, config: str | None, commit: str) -> Path:
    folder = cache_folder() / "hub" / name.replace("/", "--") / f"{commit}-{config or 'default'}"
    return folder / name.rpartition("/")[2]


def _fetch(name: str, config: str | None, commit: str, target: Path, licence: str) -> None:
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
    from filelock import FileLock

    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    with FileLock(target.with_name(f"{target.name}.lock")):
        if target.is_dir():
            return
        shutil.rmtree(partial, ignore_errors=True)
        try:
            with readable_errors(name):
                splits = load_dataset(name, config, revision=commit)
                splits.save_to_disk(partial, max_shard_size=_SHARD)
        except (ValueError, DatasetNotFoundError, DatasetGenerationError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise FdrdError(
                f"{PREFIX}{name}: `datasets` cannot read it ({first}); choose a config with "
                f"{PREFIX}{name}:CONFIG, or download the files and give their folder"
            ) from error
        said = [f'homepage = "https://huggingface.co/datasets/{name}"']
        if re.fullmatch(r"[\w.+-]+", licence) and licence not in ("unknown", "other"):
            said.append(f'licence = "{licence}"')
        (partial / "domain.toml").write_text("\n".join(said) + "\n", encoding="utf-8")
        partial.rename(target)
