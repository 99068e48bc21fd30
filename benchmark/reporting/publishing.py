"""Push a trained method to the Hub: its tensors, its results, and a card.

Local paths are not published: a backbone or dataset that was a path is named by its last component.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import safetensors.torch

from benchmark.checkpoint import WEIGHTS, CheckpointHeader, file_digest, read_header
from benchmark.models.loading import EMBEDDED
from benchmark.reporting.method_card import render_method_card
from benchmark.result import BenchResult, read_result, to_json
from benchmark.settings import Named
from fdrd.errors import FdrdError
from fdrd.hub.publisher import LocalFile, Publication, PushOptions, PushResult, execute, prepare
from fdrd.progress import Progress, silent

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w./-]+)?")


def push(
    checkpoint: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    revision: str = "main",
    tag: str | None = None,
    pull_request: bool = False,
    progress: Progress = silent,
) -> PushResult:
    """Push a trained method to the Hub in one verified commit.

    Args:
        checkpoint: `.safetensors` file that `benchmark.run` wrote; results beside it are published too.
        repo_id: ORG/NAME.
        private: make a new repository private.
        revision: branch, created if missing, or `refs/pr/N`.
        tag: tag for the new commit.
        pull_request: open a pull request instead of committing.
        progress: called with each stage.

    Raises:
        FdrdError: the file is not a checkpoint, or the Hub refused the push.
    """
    options = PushOptions(private, revision, tag, pull_request)
    plan = prepare(method_publication(Path(checkpoint), repo_id), options)
    return execute(plan, progress=progress)


def method_publication(checkpoint: Path, repo_id: str) -> Publication:
    """Return the content of a model repository: tensors, results of the same training, and card.

    Raises:
        FdrdError: the file is not a checkpoint.
    """
    own = read_header(checkpoint)
    header = replace(own, backbone=public_name(own.backbone))
    results = {name: _without_paths(found) for name, found in results_of(checkpoint, own).items()}
    tensors = safetensors.torch.load_file(checkpoint)
    metadata = {"fdrd": json.dumps(asdict(header), sort_keys=True)}
    content = {WEIGHTS: safetensors.torch.save(tensors, metadata)}
    for name, result in results.items():
        content[f"results/{name}"] = (json.dumps(to_json(result), indent=1) + "\n").encode()
    parameters = sum(value.numel() for value in tensors.values())
    hub_name = _HUB_NAME.fullmatch(header.backbone.removeprefix("hf:"))
    public = header.backbone == EMBEDDED or hub_name is not None
    note = (
        f"The backbone {header.backbone} is not on the Hub: users must have it and pass --backbone."
    )
    return Publication(
        repo_id=repo_id,
        repo_type="model",
        title=f"{header.method}, trained on {header.backbone} with fdrd",
        card=render_method_card(repo_id, header, [*results.values()], parameters, public),
        generated_keys=("model-index",),
        files=lambda: [LocalFile.of(path, data) for path, data in content.items()],
        note="" if public else note,
    )


def results_of(checkpoint: Path, header: CheckpointHeader) -> dict[str, BenchResult]:
    """Return the results beside a checkpoint that come from its training, by file name."""

    def training(result: BenchResult) -> list[object]:
        names = ("code", "options", "train", "seed", "learned_from", "shots")
        values = [getattr(result.settings, name) for name in names]
        return [result.settings.backbone.fingerprint, *values]

    digest, own = file_digest(checkpoint), checkpoint.with_suffix(".json")
    wanted = training(read_result(own)) if own.is_file() else None
    found = {}
    for path in sorted(checkpoint.parent.glob(f"{header.method}-*.json")):
        try:
            result = read_result(path)
        except FdrdError:  # written by another version
            continue
        if digest == result.settings.checkpoint or training(result) == wanted:
            found[path.name] = result
    return found


def public_name(name: str) -> str:
    """Return a backbone or dataset name without local folders; Hub ids are kept.

    >>> public_name("openai/clip-vit-base-patch32@abc"), public_name("/home/me/clip/"), public_name("embedded")
    ('openai/clip-vit-base-patch32@abc', 'clip', 'embedded')
    >>> public_name("hf:org/model"), public_name("st:/home/me/model")
    ('hf:org/model', 'st:model')
    """
    prefix, colon, rest = name.partition(":")
    if colon and prefix in ("hf", "st", "open_clip", "features"):
        return f"{prefix}:{public_name(rest)}"
    is_path = (
        name.startswith(("/", ".", "~")) or Path(name).exists() or not _HUB_NAME.fullmatch(name)
    )
    return Path(name).name if is_path else name


def _without_paths(result: BenchResult) -> BenchResult:
    def public(named: Named) -> Named:
        return Named(public_name(named.name), named.fingerprint)

    settings = result.settings
    public_settings = replace(
        settings,
        data=public(settings.data),
        backbone=public(settings.backbone),
        categories=public(settings.categories) if settings.categories else None,
    )
    return replace(result, settings=public_settings)
