"""Datasets on the Hub: the files of a build as a dataset repository, by default converted to Parquet."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from fdrd.card.front_matter import DATA_KEYS, put_section
from fdrd.card.render import load_section
from fdrd.errors import FdrdError
from fdrd.hub.publisher import Publication, PushOptions, PushResult, execute, local_file, prepare
from fdrd.pipeline.documents import convert_dataset
from fdrd.progress import Progress, silent
from fdrd.storage.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd


# Paths that `fdrd build` writes. Other files in a repository are left alone.
_OWNED = (
    r"README\.md|manifest\.json|rejected\.jsonl|croissant\.json|"
    r"data/[^/]+/(train|validation|test)-\d{5}-of-\d{5}\.(arrow|parquet)"
)


def push(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool = False,
    revision: str = "main",
    tag: str | None = None,
    pull_request: bool = False,
    have_rights: bool = False,
    format: str = "parquet",
    progress: Progress = silent,
) -> PushResult:
    """Push a built dataset to the Hub in one commit. Unchanged files are not uploaded again.

    Args:
        folder: dataset that `fdrd.build` wrote, also as a `Dataset`.
        repo_id: ORG/NAME.
        private: whether a new repository is private.
        revision: branch, created if missing, or `refs/pr/N`.
        tag: tag for the new commit.
        pull_request: whether to open a pull request instead of committing.
        have_rights: whether you may publish rows with an unknown license.
        format: `parquet`, which other tools read and the Hub shows, or `arrow`.
        progress: called with each stage.

    Raises:
        FdrdError: the dataset is incomplete, a license is unknown, or the Hub refused the push.
    """
    if Path(folder).suffix == ".safetensors":
        raise FdrdError(f"{folder} is a trained method; use benchmark.push")
    publication = dataset_publication(
        convert_dataset(Path(folder), format, progress), repo_id, have_rights, progress
    )
    options = PushOptions(private, revision, tag, pull_request)
    return execute(prepare(publication, options), progress=progress)


def dataset_publication(
    folder: Path, repo_id: str, have_rights: bool = False, progress: Progress = silent
) -> Publication:
    """Return the content of a dataset repository.

    Raise `FdrdError` if rows have an unknown license and `have_rights` is not set, or there is no complete build.
    """
    manifest = read_manifest(folder)
    _check_licenses(manifest, have_rights)
    kept, version = manifest.records.kept, manifest.libraries["fdrd"]
    publication = Publication(
        repo_id=repo_id,
        repo_type="dataset",
        title=f"{manifest.name}: {kept:,} pairs, built with fdrd {version}",
        card=put_section(_read(folder / "README.md"), "load", load_section(manifest, repo_id)),
        generated_keys=DATA_KEYS,
        files=lambda: _files(folder, manifest, publication.url, progress),
        description=f"Digest of the shards: {manifest.digest}",
        owned=_OWNED,
    )
    return publication


def _files(
    folder: Path, manifest: Manifest, url: str, progress: Progress
) -> list[CommitOperationAdd]:
    """Return all files of a build except its card; check the shards against the manifest."""
    metadata = json.loads(_read(folder / "croissant.json"))
    croissant = (json.dumps({**metadata, "url": url}, indent=1) + "\n").encode()
    files = [local_file("croissant.json", croissant)]
    files += [local_file(path, folder / path) for path in ("manifest.json", "rejected.jsonl")]
    for count, shard in enumerate(manifest.shards, 1):
        file = local_file(shard.path, folder / shard.path)
        if file.upload_info.sha256.hex() != shard.sha256:
            raise FdrdError(
                f"{folder / shard.path}: its bytes differ from the manifest; run `fdrd validate {folder}` "
                "for details, or `fdrd build` to rebuild it"
            )
        files.append(file)
        progress("hashing shards", count, len(manifest.shards))
    return files


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FdrdError(f"{path} is missing; run `fdrd build` again") from None
    except UnicodeDecodeError:
        raise FdrdError(
            f"{path} is not text in UTF-8; remove it and run `fdrd build` again"
        ) from None


def _check_licenses(manifest: Manifest, have_rights: bool) -> None:
    licenses = manifest.licenses
    names = [name for name in licenses if name.strip().lower() in ("", "unknown")]
    if (unknown := sum(licenses[name] for name in names)) and not have_rights:
        raise FdrdError(
            f"{unknown:,} of {manifest.records.kept:,} rows have no known license; add it to the source "
            "(`license` of a row or in domain.toml) and build again, or confirm that you may "
            "publish them with `have_rights`"
        )
