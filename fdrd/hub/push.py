"""Pushes a built dataset: files go up one by one, resumably, and one commit makes them the repository's.

No reader sees half a build: until the commit the repository is what it was.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdrd.errors import FdrdError
from fdrd.hub.client import (
    WAITS,
    clear_errors,
    is_transient,
    open_client,
    patiently,
    quiet,
    wanted_wait,
)
from fdrd.hub.plan import File, Plan
from fdrd.hub.repository_state import Options, files_at, missing, page, plan_push
from fdrd.progress import Progress, silent
from fdrd.storage.manifest import read_manifest

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

_TRIES = 4  # of the commit, each after a new look at the repository
_GROUP_FILES, _GROUP_BYTES = 8, 2**30
_MB = 10**6


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did."""

    url: str
    commit: str
    pull_request: str | None
    """Address of the pull request, where one was opened."""
    verified: int
    """Files whose digest on the Hub is that of the build."""


def prepare(
    folder: Path,
    repo_id: str,
    options: Options,
    *,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Plan:
    """What a push would do. It reads the repository and changes nothing.

    Raises:
        FdrdError: there is no whole build, no token, no right to publish it, no connection, or the
            repository is not as the options want it.
    """
    check(repo_id, options)
    manifest = read_manifest(folder)
    _check_rights(manifest, options.rights)
    api = open_client(must_write=not dry_run)
    with clear_errors(repo_id), quiet():
        return plan_push(api, folder, manifest, repo_id, options, progress)


def carry_out(plan: Plan, folder: Path, options: Options, *, progress: Progress = silent) -> Pushed:
    """Does what a plan says, and looks at what arrived.

    Where somebody else commits meanwhile, it plans anew, so that their edits are kept.

    Raises:
        FdrdError: the Hub refuses, the connection is gone, or a file arrived damaged.
    """
    manifest = read_manifest(folder)
    api = open_client(must_write=True)
    with clear_errors(plan.repo_id), quiet():
        if plan.head is None or plan.new_branch:
            _make_room(api, plan, options)
            plan = plan_push(api, folder, manifest, plan.repo_id, options, progress)
        commit, pull_request = plan.head or "", None
        for attempt in range(_TRIES):
            if plan.is_done:
                commit = plan.head or ""
                break
            operations = _upload(api, plan, options, progress)
            try:
                commit, pull_request = _commit(api, plan, operations, manifest, options)
                break
            except Exception as error:
                status = getattr(getattr(error, "response", None), "status_code", None)
                if attempt == _TRIES - 1 or not (status == 412 or is_transient(error)):
                    raise
                if status != 412:
                    time.sleep(wanted_wait(error, WAITS[attempt]))
                # Somebody committed, or the answer to our own commit was lost: look again.
                found = _lost_pull_request(api, plan) if options.pull_request else None
                if found:
                    commit, pull_request = found
                    break
                plan = plan_push(api, folder, manifest, plan.repo_id, options, silent)
        progress("checking what arrived", 0, len(plan.wanted))
        _verify(plan, files_at(api, plan.repo_id, commit))
        progress("checking what arrived", len(plan.wanted), len(plan.wanted))
        if options.tag:
            _tag(api, plan.repo_id, options.tag, commit)
    return Pushed(page(plan.repo_id), commit, pull_request, len(plan.wanted))


def check(repo_id: str, options: Options) -> None:
    """Raises `FdrdError` where the name or the options contradict each other or the Hub's rules."""
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", repo_id):
        raise FdrdError(
            f"--repo-id {repo_id!r}: name a user or an organisation, too, as in ORG/fdrd"
        )
    if options.pull_request and options.tag:
        raise FdrdError("--tag names a commit of a branch; merge the pull request first, then tag")
    if options.pull_request and options.revision != "main":
        raise FdrdError("--pr proposes to change main; leave --revision out")


def _check_rights(manifest: dict[str, Any], rights: bool) -> None:
    unknown = sum(
        rows
        for licence, rows in manifest["licences"].items()
        if licence.strip().lower() in ("", "unknown")
    )
    if unknown and not rights:
        raise FdrdError(
            f"{unknown:,} of {manifest['records']['kept']:,} rows have no known licence; state it in the source "
            "(`license` of a row, `licence` in domain.toml) and build again, or say that you may publish "
            "them with --i-have-the-rights"
        )


def _make_room(api: HfApi, plan: Plan, options: Options) -> None:
    """The repository and the branch, where they are missing."""
    if plan.head is None:
        patiently(
            lambda: api.create_repo(
                plan.repo_id, repo_type="dataset", private=options.private, exist_ok=True
            )
        )
    if options.revision != "main" and not options.revision.startswith("refs/"):
        patiently(
            lambda: api.create_branch(
                plan.repo_id, branch=options.revision, repo_type="dataset", exist_ok=True
            )
        )


def _upload(api: HfApi, plan: Plan, options: Options, progress: Progress) -> list[Any]:
    """Sends what the Hub stores outside of git, a few files at a time; what is there already is not sent."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    total = sum(file.size for file in plan.sent)
    operations: list[Any] = []
    done = 0
    for group in _groups(plan.sent):
        if done // _MB < total // _MB:
            progress("uploading (MB)", done // _MB, total // _MB)
        additions = [CommitOperationAdd(file.path, file.content) for file in group]
        for addition, file in zip(additions, group, strict=True):
            addition.upload_info.sha256 = bytes.fromhex(file.sha256)  # so that it is not read twice

        # The client is patient with each of its requests here, which it is not with others.
        api.preupload_lfs_files(
            plan.repo_id,
            additions,
            repo_type="dataset",
            revision=plan.revision,
            create_pr=options.pull_request,
            free_memory=False,
        )
        operations += additions
        done += sum(file.size for file in group)
    progress("uploading (MB)", -(-total // _MB), -(-total // _MB))
    return operations + [CommitOperationDelete(path) for path in plan.deleted]


def _groups(files: tuple[File, ...]) -> list[list[File]]:
    groups: list[list[File]] = []
    size = 0
    for file in files:
        if not groups or len(groups[-1]) == _GROUP_FILES or size + file.size > _GROUP_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(file)
        size += file.size
    return groups


def _commit(
    api: HfApi, plan: Plan, operations: list[Any], manifest: dict[str, Any], options: Options
) -> tuple[str, str | None]:
    """The new commit, and the address of the pull request that holds it."""
    info = api.create_commit(
        plan.repo_id,
        operations,
        commit_message=_title(manifest),
        commit_description=f"Digest of the shards: {manifest['digest']}",
        repo_type="dataset",
        revision=plan.revision,
        create_pr=options.pull_request,
        # Of a pull request it would be the commit that it starts from, which may be any.
        parent_commit=None if options.pull_request else plan.head,
    )
    return info.oid, info.pr_url


def _title(manifest: dict[str, Any]) -> str:
    kept, version = manifest["records"]["kept"], manifest["libraries"]["fdrd"]
    return f"{manifest['name']}: {kept:,} pairs, built with fdrd {version}"


def _lost_pull_request(api: HfApi, plan: Plan) -> tuple[str, str] | None:
    """The open pull request that holds the build already, where the answer to opening it was lost."""
    proposals = api.get_repo_discussions(
        plan.repo_id, repo_type="dataset", discussion_type="pull_request", discussion_status="open"
    )
    for proposal in proposals:
        commit = str(api.dataset_info(plan.repo_id, revision=f"refs/pr/{proposal.num}").sha)
        if not missing(plan, files_at(api, plan.repo_id, commit)):
            return commit, f"{page(plan.repo_id)}/discussions/{proposal.num}"
    return None


def _verify(plan: Plan, there: dict[str, RepoFile]) -> None:
    if wrong := missing(plan, there):
        raise FdrdError(
            f"{plan.repo_id}: {len(wrong)} files arrived damaged, the first {wrong[0]}; run the command again"
        )


def _tag(api: HfApi, repo_id: str, tag: str, commit: str) -> None:
    patiently(
        lambda: api.create_tag(
            repo_id, tag=tag, revision=commit, repo_type="dataset", exist_ok=True
        )
    )
