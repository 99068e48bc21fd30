"""Puts a trained method on the Hub: its tensors, its results and a card, in one commit.

No name of a folder of this machine goes along: a backbone or dataset that was a path is called by
its last part.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch

from benchmark.checkpoint import CheckpointHeader, file_digest, read_header
from benchmark.models.loading import EMBEDDED
from benchmark.reporting.method_card import About, card_sections, metadata
from benchmark.result import BenchResult, Named, read_result, to_json
from benchmark.trained import WEIGHTS
from fdrd.card.front_matter import dump, split_card
from fdrd.card.sections import put_sections
from fdrd.errors import FdrdError
from fdrd.hub.client import clear_errors, open_client, patiently, quiet
from fdrd.hub.push import check
from fdrd.hub.repository_state import Options

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w./-]+)?")


@dataclass(frozen=True)
class Draft:
    """What a push of a checkpoint puts into a model repository.

    Attributes:
        repo_id: of the repository.
        head: the commit that was looked at; None where there is no repository, or no such branch.
        exists: whether the repository is there.
        content: the files, by path.
        title: of the commit.
        backbone: as it is called there.
        on_hub: whether others can have that backbone.
    """

    repo_id: str
    head: str | None
    exists: bool
    content: dict[str, bytes]
    title: str
    backbone: str
    on_hub: bool


@dataclass(frozen=True)
class Published:
    """What a push of a checkpoint did.

    Attributes:
        url: address of the model's page.
        commit: that holds it.
        pull_request: address of the pull request, where one was opened.
        verified: files whose digest on the Hub is that of the draft.
    """

    url: str
    commit: str
    pull_request: str | None
    verified: int


def draft_method(
    checkpoint: Path, repo_id: str, options: Options, *, dry_run: bool = False
) -> Draft:
    """A model repository of a checkpoint and of the results of its training that lie beside it.

    It reads the repository and changes nothing. What was written by hand on a card that is there
    stays, outside of fdrd's sections.

    Raises:
        FdrdError: it is no checkpoint, there is no token, or the repository is not as the options
            want it.
    """
    check(repo_id, options)
    header = read_header(checkpoint)
    public = dataclasses.replace(header, backbone=public_name(header.backbone))
    results = results_of(checkpoint, header)
    api = open_client(must_write=not dry_run)
    with clear_errors(repo_id), quiet():
        exists, head, card = _there(api, repo_id, options)
    return Draft(
        repo_id=repo_id,
        head=head,
        exists=exists,
        content=files_of(checkpoint, public, results, repo_id, card),
        title=f"{header.method}, learned on {public.backbone} with fdrd",
        backbone=public.backbone,
        on_hub=_is_public(public.backbone),
    )


def publish(draft: Draft, options: Options) -> Published:
    """One commit that puts a draft into its repository, which is made where it is missing.

    Raises:
        FdrdError: the Hub refuses, the connection is gone, or a file arrived damaged.
    """
    from huggingface_hub import CommitOperationAdd

    api = open_client(must_write=True)
    with clear_errors(draft.repo_id), quiet():
        if not draft.exists:
            patiently(
                lambda: api.create_repo(draft.repo_id, private=options.private, exist_ok=True)
            )
        if draft.head is None and options.revision != "main":
            patiently(
                lambda: api.create_branch(draft.repo_id, branch=options.revision, exist_ok=True)
            )
        done: Any = patiently(
            lambda: api.create_commit(
                draft.repo_id,
                [CommitOperationAdd(path, data) for path, data in sorted(draft.content.items())],
                commit_message=draft.title,
                revision=options.revision,
                create_pr=options.pull_request,
                # So that nobody's edit in between is lost; a pull request may start anywhere.
                parent_commit=None if options.pull_request else draft.head,
            )
        )
        commit = str(done.oid)
        _verify(api, draft.repo_id, commit, draft.content)
        if options.tag:
            tag = options.tag
            patiently(lambda: api.create_tag(draft.repo_id, tag=tag, revision=commit))
    return Published(_page(draft.repo_id), commit, done.pr_url, len(draft.content))


def results_of(checkpoint: Path, header: CheckpointHeader) -> dict[str, BenchResult]:
    """By file name, the results beside a checkpoint that its training gave, on whatever was measured."""
    digest = file_digest(checkpoint)
    own = checkpoint.with_suffix(".json")
    first = read_result(own).settings if own.is_file() else None
    found = {}
    for path in sorted(checkpoint.parent.glob(f"{header.method}-*.json")):
        try:
            result = read_result(path)
        except FdrdError:  # another version's
            continue
        said = result.settings
        same_training = first is not None and all(
            getattr(said, name) == getattr(first, name)
            for name in ("code", "options", "train", "seed", "learned_from", "shots")
        )
        same_training = (
            same_training
            and first is not None
            and (said.backbone.fingerprint == first.backbone.fingerprint)
        )
        if same_training or said.checkpoint == digest:
            found[path.name] = result
    return found


def files_of(
    checkpoint: Path,
    header: CheckpointHeader,
    results: Mapping[str, BenchResult],
    repo_id: str,
    card: str | None,
) -> dict[str, bytes]:
    """The files of the repository, by path.

    Args:
        checkpoint: the tensors.
        header: what they are to say of themselves.
        results: by file name.
        repo_id: where they go.
        card: that is there already.
    """
    shown = {name: _without_paths(result) for name, result in results.items()}
    tensors = safetensors.torch.load_file(checkpoint)
    about = About(
        repo_id=repo_id,
        header=header,
        results=list(shown.values()),
        parameters=sum(value.numel() for value in tensors.values()),
        on_hub=_is_public(header.backbone),
    )
    said = {"fdrd": json.dumps(dataclasses.asdict(header), sort_keys=True)}
    return {
        WEIGHTS: safetensors.torch.save(tensors, said),
        "README.md": _card(about, card).encode(),
        **{
            f"results/{name}": (json.dumps(to_json(result), indent=1) + "\n").encode()
            for name, result in shown.items()
        },
    }


def public_name(name: str) -> str:
    """A backbone or dataset as others may know it: a Hub id stays, of a path its last part.

    >>> public_name("openai/clip-vit-base-patch32@abc"), public_name("/home/me/clip/"), public_name("embedded")
    ('openai/clip-vit-base-patch32@abc', 'clip', 'embedded')
    """
    is_path = (
        name.startswith(("/", ".", "~")) or Path(name).exists() or not _HUB_NAME.fullmatch(name)
    )
    return Path(name).name if is_path else name


def _is_public(backbone: str) -> bool:
    return backbone == EMBEDDED or _HUB_NAME.fullmatch(backbone) is not None


def _without_paths(result: BenchResult) -> BenchResult:
    said = result.settings

    def public(named: Named) -> Named:
        return Named(public_name(named.name), named.fingerprint)

    return dataclasses.replace(
        result,
        settings=dataclasses.replace(
            said,
            data=public(said.data),
            backbone=public(said.backbone),
            categories=public(said.categories) if said.categories else None,
        ),
    )


def _card(about: About, there: str | None) -> str:
    made, texts = metadata(about), card_sections(about)
    if there is None:
        return dump(made) + put_sections("", texts).lstrip()
    edited, body = split_card(there, f"README.md of {about.repo_id}")
    edited.pop("model-index", None)  # the results are those of the tensors
    tags = edited.get("tags")
    own = [tag for tag in made["tags"] if tag not in tags] if isinstance(tags, list) else []
    data = {**made, **edited, **({"tags": tags + own} if isinstance(tags, list) else {})}
    return dump(data) + put_sections(body, texts)


def _there(api: HfApi, repo_id: str, options: Options) -> tuple[bool, str | None, str | None]:
    """Whether the repository is there; the commit that its branch is at, and the card there."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        info = patiently(lambda: api.model_info(repo_id))
    except RepositoryNotFoundError as error:
        if "credentials" in str(error):
            raise
        return False, None, None
    if options.private and not info.private:
        raise FdrdError(
            f"{repo_id} is public already, and --private makes new repositories private; "
            "change it on its page, or choose another --repo-id"
        )
    refs = patiently(lambda: api.list_repo_refs(repo_id))
    if options.tag and any(ref.name == options.tag for ref in refs.tags):
        raise FdrdError(f"{repo_id} has a tag {options.tag} already; choose another --tag")
    try:
        head = patiently(lambda: api.model_info(repo_id, revision=options.revision)).sha
        path = patiently(lambda: api.hf_hub_download(repo_id, "README.md", revision=head))
    except RevisionNotFoundError:
        if options.revision.startswith("refs/"):
            raise
        return True, None, None
    except EntryNotFoundError:
        return True, head, None
    return True, head, Path(path).read_text(encoding="utf-8")


def _verify(api: HfApi, repo_id: str, commit: str, content: Mapping[str, bytes]) -> None:
    paths = sorted(content)
    there = {
        info.path: info
        for info in patiently(lambda: api.get_paths_info(repo_id, paths, revision=commit))
    }
    for path in paths:
        data, info = content[path], there.get(path)
        large = getattr(info, "lfs", None)
        digest = hashlib.sha256(data) if large else hashlib.sha1(b"blob %d\0%b" % (len(data), data))
        said = large.sha256 if large else getattr(info, "blob_id", None)
        if said != digest.hexdigest():
            raise FdrdError(f"{repo_id}: {path} arrived damaged; run the command again")


def _page(repo_id: str) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{repo_id}"
