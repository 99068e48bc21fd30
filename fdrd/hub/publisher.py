"""Publish files to a Hub repository: plan by digest, upload resumably, commit once, verify.

Readers never see a partial push: files are uploaded first, then one commit makes them visible.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fdrd.card.front_matter import merge_cards
from fdrd.errors import FdrdError
from fdrd.files.atomic import sha256_of
from fdrd.hub.client import open_client, quiet_client, readable_errors, retrying
from fdrd.progress import Progress, silent

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

CARD = "README.md"
_UPLOAD_BATCH = 8
_COMMIT_ATTEMPTS = 4
_MB = 10**6


@dataclass(frozen=True, slots=True)
class PushOptions:
    """Where and how to push.

    Attributes:
        private: whether a new repository is private.
        revision: branch, or `refs/pr/N`.
        tag: tag to create on the new commit.
        pull_request: whether to open a pull request instead of committing.
    """

    private: bool = False
    revision: str = "main"
    tag: str | None = None
    pull_request: bool = False


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file to publish, with its path in the repository."""

    path: str
    content: Path | bytes
    size: int
    sha256: str

    @classmethod
    def of(cls, path: str, content: Path | bytes) -> LocalFile:
        """Return the file with its size and digest."""
        if isinstance(content, bytes):
            return cls(path, content, len(content), hashlib.sha256(content).hexdigest())
        if not content.is_file():
            raise FdrdError(f"{content} is missing; run `fdrd build` again")
        return cls(path, content, content.stat().st_size, sha256_of(content))

    def matches(self, remote: RepoFile | None) -> bool:
        """Return whether a file in the repository has the same size and digest."""
        from huggingface_hub.utils.sha import git_hash

        if remote is None or remote.size != self.size:
            return False
        if remote.lfs:
            return bool(remote.lfs.sha256 == self.sha256)
        data = self.content if isinstance(self.content, bytes) else self.content.read_bytes()
        return bool(remote.blob_id == git_hash(data))


@dataclass(frozen=True, slots=True)
class Publication:
    """Content of a repository.

    Attributes:
        repo_id: ORG/NAME.
        repo_type: `dataset` or `model`.
        title: title of the commit.
        card: README.md; hand edits on the Hub are merged into it.
        generated_keys: card metadata that a push always overwrites.
        files: compute all other files; called once.
        description: body of the commit message.
        owned: pattern of paths that a push may delete when they are no longer part of the content.
        note: shown to the user before the push.
    """

    repo_id: str
    repo_type: Literal["dataset", "model"]
    title: str
    card: str
    generated_keys: tuple[str, ...]
    files: Callable[[], list[LocalFile]]
    description: str = ""
    owned: str | None = None
    note: str = ""

    @property
    def url(self) -> str:
        """Address of the repository's page."""
        from huggingface_hub import constants

        prefix = "datasets/" if self.repo_type == "dataset" else ""
        return f"{constants.ENDPOINT}/{prefix}{self.repo_id}"


@dataclass(frozen=True, slots=True)
class PushPlan:
    """Changes that make a repository hold a publication.

    Attributes:
        publication: what to publish.
        options: where and how.
        head: commit that was compared; None if the repository does not exist yet.
        new_branch: whether the branch must be created.
        files: all files of the publication.
        new: files the repository lacks.
        changed: files with different content.
        unchanged: files that are identical.
        deleted: paths that an earlier push created and this one lacks.
        foreign: other paths in the repository; they stay.
    """

    publication: Publication
    options: PushOptions
    head: str | None
    new_branch: bool
    files: Sequence[LocalFile]
    new: tuple[LocalFile, ...]
    changed: tuple[LocalFile, ...]
    unchanged: tuple[LocalFile, ...]
    deleted: tuple[str, ...]
    foreign: tuple[str, ...]

    @property
    def is_done(self) -> bool:
        """Whether the repository already holds the publication."""
        return self.head is not None and not (self.new or self.changed or self.deleted)


@dataclass(frozen=True, slots=True)
class PushResult:
    """Outcome of a push.

    Attributes:
        url: address of the repository's page.
        commit: commit that holds the files.
        pull_request: address of the pull request, if one was opened.
        verified: number of files whose digest on the Hub was checked.
    """

    url: str
    commit: str
    pull_request: str | None
    verified: int


def prepare(publication: Publication, options: PushOptions, *, dry_run: bool = False) -> PushPlan:
    """Compare a publication with its repository; change nothing.

    Raises:
        FdrdError: the options are invalid, no token, no connection, or the repository conflicts with the options.
    """
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", publication.repo_id):
        raise FdrdError(
            f"--repo-id {publication.repo_id!r}: include a user or organization, e.g. ORG/fdrd"
        )
    if options.pull_request and options.tag:
        raise FdrdError("--tag needs a commit on a branch; merge the pull request first, then tag")
    if options.pull_request and options.revision != "main":
        raise FdrdError("--pr targets main; remove --revision")
    api = open_client(must_write=not dry_run)
    with readable_errors(publication.repo_id), quiet_client():
        return _plan(api, publication, options)


def execute(plan: PushPlan, *, progress: Progress = silent) -> PushResult:
    """Carry out a plan and verify every file on the Hub.

    If someone else commits in the meantime, the push is planned again so that their edits are kept.

    Raises:
        FdrdError: the Hub refused a request, the connection failed, or a file arrived damaged.
    """
    publication, options = plan.publication, plan.options
    api = open_client(must_write=True)
    with readable_errors(publication.repo_id), quiet_client():
        if plan.head is None or plan.new_branch:
            _create_repository(api, plan)
            plan = _plan(api, publication, options, plan.files)
        commit, pull_request = plan.head or "", None
        for attempt in retrying(_COMMIT_ATTEMPTS):
            if attempt.retry_state.attempt_number > 1:
                # Either someone else committed, or the response to our own commit was lost.
                if options.pull_request and (found := _find_pull_request(api, plan)):
                    commit, pull_request = found
                    break
                plan = _plan(api, publication, options, plan.files)
            if plan.is_done:
                commit = plan.head or ""
                break
            operations = _upload(api, plan, progress)
            with attempt:
                commit, pull_request = _commit(api, plan, operations)
        progress("verifying", 0, len(plan.files))
        if wrong := _mismatches(plan, _files_at(api, publication, commit)):
            raise FdrdError(
                f"{publication.repo_id}: {len(wrong)} files arrived damaged, the first is {wrong[0]}; "
                "run the command again"
            )
        progress("verifying", len(plan.files), len(plan.files))
        if options.tag:
            retrying()(
                api.create_tag,
                publication.repo_id,
                tag=options.tag,
                revision=commit,
                repo_type=publication.repo_type,
                exist_ok=True,
            )
    return PushResult(publication.url, commit, pull_request, len(plan.files))


def _plan(
    api: HfApi,
    publication: Publication,
    options: PushOptions,
    files: Sequence[LocalFile] | None = None,
) -> PushPlan:
    """Return what it takes to make the current repository hold the publication."""
    head, new_branch = _head(api, publication, options)
    remote = _files_at(api, publication, head) if head else {}
    card = _card_at(api, publication, head) if head and CARD in remote else None
    merged = merge_cards(
        publication.card, card, publication.generated_keys, f"{CARD} of {publication.repo_id}"
    )
    others = files if files is not None else publication.files()
    files = [LocalFile.of(CARD, merged.encode()), *(file for file in others if file.path != CARD)]
    unchanged = tuple(file for file in files if file.matches(remote.get(file.path)))
    new = tuple(file for file in files if file.path not in remote)
    extra = sorted(remote.keys() - {file.path for file in files})
    deleted = tuple(path for path in extra if re.fullmatch(publication.owned or "(?!)", path))
    if "manifest.json" not in remote:  # not created by `fdrd push`, so nothing in it is ours
        deleted = ()
    return PushPlan(
        publication=publication,
        options=options,
        head=head,
        new_branch=new_branch,
        files=files,
        new=new,
        changed=tuple(file for file in files if file not in unchanged and file not in new),
        unchanged=unchanged,
        deleted=deleted,
        foreign=tuple(path for path in extra if path not in (*deleted, ".gitattributes")),
    )


def _head(api: HfApi, publication: Publication, options: PushOptions) -> tuple[str | None, bool]:
    """Return the commit to compare with, and whether the branch must be created."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    repo_id, repo_type, new_branch = publication.repo_id, publication.repo_type, False
    retry = retrying(3)
    try:
        info = retry(api.repo_info, repo_id, revision=options.revision, repo_type=repo_type)
    except RevisionNotFoundError:
        if options.revision.startswith("refs/"):
            raise
        new_branch = True
        info = retry(api.repo_info, repo_id, repo_type=repo_type)
    except RepositoryNotFoundError as error:
        if "credentials" in str(error):
            raise
        return None, False
    if options.private and not info.private:
        raise FdrdError(
            f"{repo_id} is public already, and --private only applies to new repositories; "
            "change it in the repository's settings, or choose another --repo-id"
        )
    if options.tag:
        refs = retry(api.list_repo_refs, repo_id, repo_type=repo_type)
        if any(ref.name == options.tag for ref in refs.tags):
            raise FdrdError(f"{repo_id} already has a tag {options.tag}; choose another --tag")
    return str(info.sha), new_branch


def _files_at(api: HfApi, publication: Publication, revision: str) -> dict[str, RepoFile]:
    """Return the files of a commit by path, with sizes and digests."""
    from huggingface_hub.hf_api import RepoFile

    tree = api.list_repo_tree(
        publication.repo_id, recursive=True, revision=revision, repo_type=publication.repo_type
    )
    return {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}


def _card_at(api: HfApi, publication: Publication, revision: str) -> str:
    """Return the card of a commit, bypassing the client's cache."""
    with tempfile.TemporaryDirectory() as folder:
        path = retrying()(
            api.hf_hub_download,
            publication.repo_id,
            CARD,
            repo_type=publication.repo_type,
            revision=revision,
            cache_dir=folder,
        )
        return Path(str(path)).read_text(encoding="utf-8")


def _create_repository(api: HfApi, plan: PushPlan) -> None:
    repo_id, repo_type = plan.publication.repo_id, plan.publication.repo_type
    options, retry = plan.options, retrying()
    if plan.head is None:
        retry(api.create_repo, repo_id, repo_type=repo_type, private=options.private, exist_ok=True)
    if options.revision != "main" and not options.revision.startswith("refs/"):
        retry(
            api.create_branch, repo_id, branch=options.revision, repo_type=repo_type, exist_ok=True
        )


def _upload(api: HfApi, plan: PushPlan, progress: Progress) -> list[Any]:
    """Upload LFS files in batches, skipping those the Hub already has; return the operations of the commit."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    files = sorted((*plan.new, *plan.changed), key=lambda file: file.path)
    total = -(-sum(file.size for file in files) // _MB)
    operations: list[Any] = []
    for start in range(0, len(files), _UPLOAD_BATCH):
        progress("uploading (MB)", sum(file.size for file in files[:start]) // _MB, total)
        batch = files[start : start + _UPLOAD_BATCH]
        additions = [CommitOperationAdd(file.path, file.content) for file in batch]
        for addition, file in zip(additions, batch, strict=True):
            addition.upload_info.sha256 = bytes.fromhex(file.sha256)  # do not read it twice
        api.preupload_lfs_files(
            plan.publication.repo_id,
            additions,
            repo_type=plan.publication.repo_type,
            revision=plan.options.revision,
            create_pr=plan.options.pull_request,
        )
        operations += additions
    progress("uploading (MB)", total, total)
    return operations + [CommitOperationDelete(path) for path in plan.deleted]


def _commit(api: HfApi, plan: PushPlan, operations: list[Any]) -> tuple[str, str | None]:
    """Return the new commit and the address of its pull request, if any."""
    info = api.create_commit(
        plan.publication.repo_id,
        operations,
        commit_message=plan.publication.title,
        commit_description=plan.publication.description,
        repo_type=plan.publication.repo_type,
        revision=plan.options.revision,
        create_pr=plan.options.pull_request,
        # For a pull request this would be the commit it branches from, which does not matter.
        parent_commit=None if plan.options.pull_request else plan.head,
    )
    return str(info.oid), info.pr_url


def _find_pull_request(api: HfApi, plan: PushPlan) -> tuple[str, str] | None:
    """Return an open pull request that already holds the files, after a lost response."""
    publication = plan.publication
    proposals = api.get_repo_discussions(
        publication.repo_id,
        repo_type=publication.repo_type,
        discussion_type="pull_request",
        discussion_status="open",
    )
    for proposal in proposals:
        info = api.repo_info(
            publication.repo_id,
            repo_type=publication.repo_type,
            revision=f"refs/pr/{proposal.num}",
        )
        if not _mismatches(plan, _files_at(api, publication, str(info.sha))):
            return str(info.sha), f"{publication.url}/discussions/{proposal.num}"
    return None


def _mismatches(plan: PushPlan, remote: dict[str, RepoFile]) -> list[str]:
    """Return the paths that are not as planned."""
    return [
        *(file.path for file in plan.files if not file.matches(remote.get(file.path))),
        *(path for path in plan.deleted if path in remote),
    ]
