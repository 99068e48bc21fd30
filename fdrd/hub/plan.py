"""What a push would do: files of a build beside the files of a repository, compared by digest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdrd.card.front_matter import dump, merged, split_card
from fdrd.card.render import load_section
from fdrd.card.sections import put_sections, sections
from fdrd.errors import FdrdError
from fdrd.storage.shard_file import digests_path

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

# Files that a build makes; others in a repository are somebody's work, and stay.
_OWNED = re.compile(
    r"README\.md|manifest\.json|rejected\.jsonl|croissant\.json|"
    r"plots/(caption_words|category_pairs|attributes|negatives)\.png|"
    r"data/[^/]+/(train|validation|test)-\d{5}-of-\d{5}\.(arrow|parquet)|"
    r"digests/[^/]+/(train|validation|test)-\d{5}-of-\d{5}\.txt"
)
_GIT_LIMIT = 10 * 2**20  # bytes above which the Hub has no plain git file
_CHUNK = 2**20


@dataclass(frozen=True, slots=True)
class File:
    """A file to be in the repository: its place there, where its bytes are, and their digests."""

    path: str
    content: Path | bytes
    size: int
    sha256: str
    git_oid: str
    """Empty for a file that is too large to be a plain git file."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done to a repository so that it holds a build."""

    repo_id: str
    revision: str
    head: str | None
    """The commit that was looked at; None where there is no repository yet."""
    new_branch: bool
    new: tuple[File, ...]
    changed: tuple[File, ...]
    unchanged: tuple[File, ...]
    deleted: tuple[str, ...]
    foreign: tuple[str, ...]
    """Files of the repository that no build made."""

    @property
    def sent(self) -> tuple[File, ...]:
        """The files that a commit puts there, by path."""
        return tuple(sorted((*self.new, *self.changed), key=lambda file: file.path))

    @property
    def wanted(self) -> tuple[File, ...]:
        """All files of the build."""
        return (*self.new, *self.changed, *self.unchanged)

    @property
    def is_done(self) -> bool:
        """Whether the repository holds the build already."""
        return self.head is not None and not (self.new or self.changed or self.deleted)


def compare(
    repo_id: str,
    revision: str,
    head: str | None,
    new_branch: bool,
    files: Iterable[File],
    remote: Mapping[str, RepoFile],
) -> Plan:
    """The plan that makes `remote`, the files at `head`, those of the build."""
    new, changed, unchanged = [], [], []
    paths = set()
    for file in files:
        paths.add(file.path)
        if file.path not in remote:
            new.append(file)
        elif is_same(file, remote[file.path]):
            unchanged.append(file)
        else:
            changed.append(file)
    others = sorted(remote.keys() - paths)
    # Without a manifest the repository was not made by fdrd, and nothing in it is a build's.
    made_by_fdrd = "manifest.json" in remote
    deleted = [path for path in others if made_by_fdrd and _OWNED.fullmatch(path)]
    return Plan(
        repo_id=repo_id,
        revision=revision,
        head=head,
        new_branch=new_branch,
        new=tuple(new),
        changed=tuple(changed),
        unchanged=tuple(unchanged),
        deleted=tuple(deleted),
        foreign=tuple(path for path in others if path not in deleted and path != ".gitattributes"),
    )


def is_same(file: File, there: RepoFile) -> bool:
    """Whether a file of the repository has the bytes of this one, by size and digest."""
    if there.size != file.size:
        return False
    if there.lfs:
        return bool(there.lfs.sha256 == file.sha256)
    return bool(there.blob_id == file.git_oid)


def local_files(
    folder: Path,
    manifest: Mapping[str, Any],
    repo_id: str,
    url: str,
    card_there: str | None,
    counted: Callable[[int], None] = lambda _: None,
) -> list[File]:
    """The files of a build as the repository is to hold them.

    Args:
        folder: of the dataset.
        manifest: its manifest.
        repo_id: of the repository.
        url: address of the repository's page.
        card_there: the repository's card, whose hand edits are kept; None where it has none.
        counted: told of bytes that were digested.

    Raises:
        FdrdError: a file is missing, or a shard is not the one that was built.
    """
    card = _read(folder, "README.md").decode("utf-8")
    metadata = json.loads(_read(folder, "croissant.json"))
    made = {
        "README.md": card_for(card, manifest, repo_id, card_there).encode(),
        "croissant.json": (json.dumps({**metadata, "url": url}, indent=1) + "\n").encode(),
        "manifest.json": _read(folder, "manifest.json"),
    }
    files = [_digested(path, content, counted) for path, content in made.items()]
    plots = sorted((folder / "plots").glob("*.png"))
    paths = [path.relative_to(folder).as_posix() for path in plots]
    for path in ["rejected.jsonl", *(path for path in paths if _OWNED.fullmatch(path))]:
        files.append(_digested(path, folder / path, counted))
    for shard in manifest["shards"]:
        rows = digests_path(shard["path"])
        files.append(_digested(rows, folder / rows, counted))
        file = _digested(shard["path"], folder / shard["path"], counted)
        if file.sha256 != shard["sha256"]:
            raise FdrdError(
                f"{folder / shard['path']}: its bytes are not those that were built; "
                f"`fdrd validate {folder}` says more, `fdrd build` mends it"
            )
        files.append(file)
    return files


def card_for(card: str, manifest: Mapping[str, Any], repo_id: str, there: str | None) -> str:
    """A build's card for a repository, with what was written by hand on the card that is there."""
    data, body = split_card(card)
    made = {**sections(body), "load": load_section(manifest, repo_id)}
    if there is None:
        return dump(data) + put_sections(body, made)
    data_there, body_there = split_card(there, f"README.md of {repo_id}")
    return dump(merged(data, data_there)) + put_sections(body_there, made)


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError:
        raise FdrdError(
            f"{folder / name} is missing; build the dataset again with this version of fdrd"
        ) from None


def _digested(path: str, content: Path | bytes, counted: Callable[[int], None]) -> File:
    if isinstance(content, bytes):
        size, chunks = len(content), iter([content])
        return _file(path, content, size, chunks, counted)
    try:
        with content.open("rb") as file:
            size = content.stat().st_size
            return _file(path, content, size, iter(lambda: file.read(_CHUNK), b""), counted)
    except FileNotFoundError:
        raise FdrdError(f"{content} is missing; `fdrd build` makes it again") from None


def _file(
    path: str,
    content: Path | bytes,
    size: int,
    chunks: Iterable[bytes],
    counted: Callable[[int], None],
) -> File:
    sha256, git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size)
    plain = size <= _GIT_LIMIT
    for chunk in chunks:
        sha256.update(chunk)
        if plain:
            git.update(chunk)
        counted(len(chunk))
    return File(path, content, size, sha256.hexdigest(), git.hexdigest() if plain else "")
