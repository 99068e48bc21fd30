"""Looks at a repository: its files, its card, and with them what a push of a build would do."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdrd.errors import FdrdError
from fdrd.hub.client import WAITS, patiently
from fdrd.hub.plan import Plan, compare, is_same, local_files
from fdrd.progress import Progress

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

_MB = 10**6
_STEP = 64 * _MB  # bytes between two lines of progress


@dataclass(frozen=True, slots=True)
class Options:
    """How a dataset is pushed. `revision` is a branch, or `refs/pr/N`."""

    private: bool = False
    revision: str = "main"
    tag: str | None = None
    pull_request: bool = False
    rights: bool = False
    """The user says that they may publish rows of unknown licence."""


def plan_push(
    api: HfApi,
    folder: Path,
    manifest: dict[str, Any],
    repo_id: str,
    options: Options,
    progress: Progress,
) -> Plan:
    """What it takes to make the repository hold this build, as the repository is now.

    Raises:
        FdrdError: it is public and is to be private, it has the tag already, or a shard is damaged.
    """
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    head, new_branch = None, False
    info = None
    try:
        info = patiently(lambda: api.dataset_info(repo_id, revision=options.revision), WAITS[:2])
    except RevisionNotFoundError:
        if options.revision.startswith("refs/"):
            raise
        new_branch = True
        info = patiently(lambda: api.dataset_info(repo_id))
    except RepositoryNotFoundError as error:
        if "credentials" in str(error):
            raise
    remote: dict[str, RepoFile] = {}
    card = None
    if info is not None:
        if options.private and not info.private:
            raise FdrdError(
                f"{repo_id} is public already, and --private makes new repositories private; "
                "change it on its page, or choose another --repo-id"
            )
        head = str(info.sha)
        remote = files_at(api, repo_id, head)
        if options.tag:
            _check_tag(api, repo_id, options.tag)
        if "README.md" in remote:
            card = _text_at(api, repo_id, head, "README.md")
    total = sum(shard["bytes"] for shard in manifest["shards"]) // _MB
    done = 0

    def counted(size: int) -> None:
        nonlocal done
        before, done = done, done + size
        if before // _STEP != done // _STEP and done // _MB < total:
            progress("digesting (MB)", done // _MB, total)

    files = local_files(folder, manifest, repo_id, page(repo_id), card, counted)
    if done >= _STEP:
        progress("digesting (MB)", total, total)
    return compare(repo_id, options.revision, head, new_branch, files, remote)


def files_at(api: HfApi, repo_id: str, revision: str) -> dict[str, RepoFile]:
    """The files of a commit by path, with sizes and digests."""
    from huggingface_hub.hf_api import RepoFile

    found = api.list_repo_tree(repo_id, recursive=True, revision=revision, repo_type="dataset")
    return {entry.path: entry for entry in found if isinstance(entry, RepoFile)}


def _text_at(api: HfApi, repo_id: str, revision: str, path: str) -> str:
    """A file of a commit; under a new name in no cache, so that nothing old is read."""
    with tempfile.TemporaryDirectory() as folder:
        found = patiently(
            lambda: api.hf_hub_download(
                repo_id, path, repo_type="dataset", revision=revision, cache_dir=folder
            )
        )
        return Path(found).read_text(encoding="utf-8")


def missing(plan: Plan, there: dict[str, RepoFile]) -> list[str]:
    """Files that are not as the plan wants them."""
    return [
        *(f.path for f in plan.wanted if f.path not in there or not is_same(f, there[f.path])),
        *(path for path in plan.deleted if path in there),
    ]


def _check_tag(api: HfApi, repo_id: str, tag: str) -> None:
    refs = patiently(lambda: api.list_repo_refs(repo_id, repo_type="dataset"))
    if any(ref.name == tag for ref in refs.tags):
        raise FdrdError(f"{repo_id} has a tag {tag} already; choose another --tag")


def page(repo_id: str) -> str:
    """Address of a dataset's page."""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/datasets/{repo_id}"
