"""Publish files to a Hub repository: plan by digest, upload what changed, commit once.

Readers never see a partial push: files are uploaded first, then one commit makes them visible. The client repeats
uploads that fail, and skips files that the Hub has.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fdrd.card.front_matter import merge_cards
from fdrd.errors import FdrdError
from fdrd.hub.client import open_client, quiet_client, readable_errors
from fdrd.progress import Progress, silent

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.hf_api import RepoFile

CARD = "README.md"
_UPLOAD_BATCH = 8
_MB = 10**6


@dataclass(frozen=True, slots=True)
class PushOptions:
    """Where and how to push. `revision` is a branch or `refs/pr/N`, `private` applies to a new repository."""

    private: bool = False
    revision: str = "main"
    tag: str | None = None
    pull_request: bool = False


def local_file(path: str, content: Path | bytes) -> CommitOperationAdd:
    """Return a file to publish at a path of the repository. Raise `FdrdError` if it is missing."""
    from huggingface_hub import CommitOperationAdd

    if isinstance(content, Path) and not content.is_file():
        raise FdrdError(f"{content} is missing; run `fdrd build` again")
    return CommitOperationAdd(path, content)


def _matches(file: CommitOperationAdd, remote: RepoFile) -> bool:
    from huggingface_hub.utils.sha import git_hash

    if remote.size != file.upload_info.size:
        return False
    if remote.lfs:
        return bool(remote.lfs.sha256 == file.upload_info.sha256.hex())
    with file.as_file() as opened:
        return bool(remote.blob_id == git_hash(opened.read()))


@dataclass(frozen=True, slots=True)
class Publication:
    """Content of a repository."""

    repo_id: str
    repo_type: Literal["dataset", "model"]
    title: str
    card: str  # README.md; hand edits on the Hub are merged into it
    generated_keys: tuple[str, ...]  # card metadata that a push overwrites
    files: Callable[[], list[CommitOperationAdd]]  # returns all other files; called once
    description: str = ""
    owned: str | None = None
    """pattern of paths that a push deletes when they are no longer part of the content"""
    note: str = ""  # note for the user before the push
    usage: str = ""
    """command that uses the repository; empty for a dataset, which `load_dataset` loads"""

    @property
    def repo(self) -> dict[str, Any]:
        """Arguments that name the repository to the client."""
        return {"repo_id": self.repo_id, "repo_type": self.repo_type}

    @property
    def url(self) -> str:
        """Address of the repository's page."""
        from huggingface_hub import constants

        prefix = "datasets/" if self.repo_type == "dataset" else ""
        return f"{constants.ENDPOINT}/{prefix}{self.repo_id}"


@dataclass(frozen=True, slots=True)
class PushPlan:
    """Changes that make a repository hold a publication, as paths."""

    publication: Publication
    options: PushOptions
    head: str | None
    """commit that the plan was compared with; None if the repository does not exist yet"""
    new_branch: bool
    files: list[CommitOperationAdd]  # all files of the publication
    upload: list[str]  # paths that the repository lacks
    replace: list[str]  # paths with other content
    unchanged: list[str]
    delete: list[str]  # paths that an earlier push created and this one lacks
    foreign: list[str]  # other paths in the repository; they stay

    @property
    def is_done(self) -> bool:
        """Whether the repository already holds the publication."""
        return self.head is not None and not (self.upload or self.replace or self.delete)


@dataclass(frozen=True, slots=True)
class PushResult:
    """Outcome of a push: addresses and commit."""

    url: str
    commit: str
    pull_request: str | None


def prepare(publication: Publication, options: PushOptions, *, dry_run: bool = False) -> PushPlan:
    """Compare a publication with its repository and the options; change nothing.

    Raise `FdrdError` if an option does not fit, the Hub refuses, or the YAML of the card on the Hub is invalid.
    """
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", publication.repo_id):
        raise FdrdError(
            f"`repo_id` {publication.repo_id!r}: include a user or organization, e.g. ORG/fdrd"
        )
    if options.pull_request and options.tag:
        raise FdrdError("`tag` needs a commit on a branch; merge the pull request first, then tag")
    if options.pull_request and options.revision != "main":
        raise FdrdError("`pull_request` targets main; remove `revision`")
    api = open_client(must_write=not dry_run)
    with readable_errors(publication.repo_id), quiet_client():
        head, new_branch = _head(api, publication, options)
        remote, card = _repository(api, publication, head) if head else ({}, None)
    home = f"{CARD} of {publication.repo_id}"
    merged = merge_cards(publication.card, card, publication.generated_keys, home)
    files = [local_file(CARD, merged.encode()), *publication.files()]
    local = {file.path_in_repo: file for file in files}
    same = {path: _matches(local[path], remote[path]) for path in local if path in remote}
    extra = sorted(remote.keys() - local)
    # Without a manifest the repository was not created by `fdrd push`, and nothing in it is ours.
    owned = publication.owned if publication.owned and "manifest.json" in remote else "(?!)"
    delete = [path for path in extra if re.fullmatch(owned, path)]
    return PushPlan(
        publication=publication,
        options=options,
        head=head,
        new_branch=new_branch,
        files=files,
        upload=[path for path in local if path not in remote],
        replace=[path for path in same if not same[path]],
        unchanged=[path for path in same if same[path]],
        delete=delete,
        foreign=[path for path in extra if path not in (*delete, ".gitattributes")],
    )


def execute(plan: PushPlan, *, progress: Progress = silent) -> PushResult:
    """Carry out a plan. Raise `FdrdError` if the Hub refuses, or someone else has committed since."""
    publication, options = plan.publication, plan.options
    repo, branch = publication.repo, options.revision
    api = open_client(must_write=True)
    with readable_errors(publication.repo_id), quiet_client():
        if plan.head is None:
            api.create_repo(**repo, private=options.private, exist_ok=True)
        if plan.new_branch or (plan.head is None and branch != "main"):
            api.create_branch(**repo, branch=branch, exist_ok=True)
        commit, pull_request = plan.head or "", None
        if not plan.is_done:
            info = api.create_commit(
                **repo,
                operations=_upload(api, plan, progress),
                commit_message=publication.title,
                commit_description=publication.description,
                revision=branch,
                create_pr=options.pull_request,
                # A pull request may branch from any commit.
                parent_commit=None if options.pull_request else plan.head,
            )
            commit, pull_request = str(info.oid), info.pr_url
        if options.tag:
            api.create_tag(**repo, tag=options.tag, revision=commit, exist_ok=True)
    return PushResult(publication.url, commit, pull_request)


def _head(api: HfApi, publication: Publication, options: PushOptions) -> tuple[str | None, bool]:
    """Return the commit to compare with, and whether the branch must be created."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    repo, new_branch = publication.repo, False
    try:
        info = api.repo_info(**repo, revision=options.revision)
    except RevisionNotFoundError:
        if options.revision.startswith("refs/"):
            raise
        info, new_branch = api.repo_info(**repo), True
    except RepositoryNotFoundError as error:
        if "credentials" in str(error) or options.revision.startswith("refs/"):
            raise
        return None, False
    if options.private and not info.private:
        raise FdrdError(
            f"{publication.repo_id} is public already, and `private` only applies to new repositories; "
            "change it in the repository's settings, or choose another `repo_id`"
        )
    if options.tag and options.tag in (ref.name for ref in api.list_repo_refs(**repo).tags):
        raise FdrdError(
            f"{publication.repo_id} already has a tag {options.tag}; choose another `tag`"
        )
    return str(info.sha), new_branch


def _repository(
    api: HfApi, publication: Publication, commit: str
) -> tuple[dict[str, RepoFile], str | None]:
    """Return the files of a commit by path, with sizes and digests, and its card, without the client's cache."""
    from huggingface_hub.hf_api import RepoFile

    tree = api.list_repo_tree(**publication.repo, recursive=True, revision=commit)
    files = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
    if CARD not in files:
        return files, None
    with tempfile.TemporaryDirectory() as folder:
        path = api.hf_hub_download(
            **publication.repo, filename=CARD, revision=commit, cache_dir=folder
        )
        return files, Path(path).read_text(encoding="utf-8")


def _upload(api: HfApi, plan: PushPlan, progress: Progress) -> list[Any]:
    """Upload large files in batches, to show the progress; return the operations of the commit."""
    from huggingface_hub import CommitOperationDelete

    files = [file for file in plan.files if file.path_in_repo not in plan.unchanged]
    done, total = 0, -(-sum(file.upload_info.size for file in files) // _MB)
    for start in range(0, len(files), _UPLOAD_BATCH):
        progress("uploading (MB)", done // _MB, total)
        batch = files[start : start + _UPLOAD_BATCH]
        api.preupload_lfs_files(
            **plan.publication.repo,
            additions=batch,
            revision=plan.options.revision,
            create_pr=plan.options.pull_request,
        )
        done += sum(file.upload_info.size for file in batch)
    progress("uploading (MB)", total, total)
    return [*files, *map(CommitOperationDelete, plan.delete)]
