"""Datasets on the Hub as raw sources: `hub:ORG/NAME[:CONFIG][@REVISION]`.

`datasets` downloads them and runs no code of the repository. Each commit is saved once below fdrd's cache, in the
layout `saved_dataset`, with a `domain.toml` that names its origin.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from fdrd.errors import FdrdError, first_line
from fdrd.files.paths import cache_folder
from fdrd.hub.client import is_of_hub, open_client, readable_errors
from fdrd.progress import Progress, silent

PREFIX = "hub:"
_SPEC = re.compile(r"hub:([\w.-]+/[\w.-]+)(?::([\w.-]+))?(?:@([\w.-][\w./-]*))?")
_SHARD = "500MB"  # fixed, so that the same commit gives the same files everywhere


def local_source(source: str | Path, progress: Progress = silent) -> Path:
    """Return the folder of a source, after downloading it if it is on the Hub.

    Raise `FdrdError` if its name has another form, or it cannot be downloaded.
    """
    text = str(source)
    if not text.startswith(PREFIX):
        return Path(source)
    found = _SPEC.fullmatch(text)
    if not found:
        raise FdrdError(
            f"{text!r} is not a dataset on the Hub; write hub:ORG/NAME, optionally with :CONFIG and @REVISION"
        )
    name, config, revision = found.groups()
    if re.fullmatch("[0-9a-f]{40}", revision or ""):
        target = _target(name, config, revision)
        if target.is_dir():
            return target  # a commit never changes, so there is nothing to check
    with readable_errors(name):
        info = open_client(must_write=False).dataset_info(name, revision=revision)
    target = _target(name, config, str(info.sha))
    if not target.is_dir():
        progress(f"downloading {name}", 0, 0)
        license = info.card_data.get("license") if info.card_data else ""
        _download(name, config, str(info.sha), target, license if isinstance(license, str) else "")
        progress(f"downloading {name}", 1, 1)
    return target


def _target(name: str, config: str | None, commit: str) -> Path:
    folder = cache_folder() / "hub" / name.replace("/", "--") / f"{commit}-{config or 'default'}"
    return folder / name.rpartition("/")[2]


def _download(name: str, config: str | None, commit: str, target: Path, license: str) -> None:
    from datasets import load_dataset
    from filelock import FileLock

    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    with FileLock(target.with_name(f"{target.name}.lock")):
        if target.is_dir():
            return
        shutil.rmtree(partial, ignore_errors=True)
        with readable_errors(name):
            try:
                splits = load_dataset(name, config, revision=commit)
                splits.save_to_disk(partial, max_shard_size=_SHARD)
            except FdrdError:
                raise
            except Exception as error:  # the files of a stranger make `datasets` raise anything
                if is_of_hub(error):
                    raise
                raise FdrdError(
                    f"{PREFIX}{name}: `datasets` cannot read it ({first_line(error)}); choose a config with "
                    f"{PREFIX}{name}:CONFIG, or download the files and pass their folder"
                ) from error
        lines = [f'homepage = "https://huggingface.co/datasets/{name}"']
        if re.fullmatch(r"[\w.+-]+", license) and license not in ("unknown", "other"):
            lines.append(f'license = "{license}"')
        (partial / "domain.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        partial.rename(target)
