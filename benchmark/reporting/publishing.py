"""Push a trained method to the Hub: its tensors, its results, and a card with these as a `model-index`.

Local paths are not published: a backbone or dataset that was a path is named by its last component.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from string import Template
from typing import Any

import safetensors.torch

from benchmark.checkpoint import WEIGHTS, CheckpointHeader, file_digest, read_header
from benchmark.models.loading import EMBEDDED
from benchmark.result import DIRECTIONS, BenchResult, read_result, to_json
from benchmark.settings import Named
from fdrd.card.front_matter import TAGS, dump
from fdrd.errors import FdrdError
from fdrd.hub.publisher import LocalFile, Publication, PushOptions, PushResult, execute, prepare
from fdrd.progress import Progress, silent
from fdrd.text.markup import code, escape, markdown_table

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
    results = _results(checkpoint, own.method)
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
        card=_card(repo_id, header, [*results.values()], parameters, public),
        generated_keys=("model-index",),
        files=lambda: [LocalFile.of(path, data) for path, data in content.items()],
        note="" if public else note,
    )


def _results(checkpoint: Path, method: str) -> dict[str, BenchResult]:
    """Return by file name the results beside a checkpoint that come from its training, without local paths."""

    def training(result: BenchResult) -> list[object]:
        names = ("code", "options", "train", "seed", "learned_from", "shots")
        values = [getattr(result.settings, name) for name in names]
        return [result.settings.backbone.fingerprint, *values]

    def public(named: Named) -> Named:
        return Named(public_name(named.name), named.fingerprint)

    digest, own = file_digest(checkpoint), checkpoint.with_suffix(".json")
    wanted = training(read_result(own)) if own.is_file() else None
    found = {}
    for path in sorted(checkpoint.parent.glob(f"{method}-*.json")):
        try:
            result = read_result(path)
        except FdrdError:  # written by another version
            continue
        settings = result.settings
        if digest == settings.checkpoint or training(result) == wanted:
            without_paths = replace(
                settings,
                data=public(settings.data),
                backbone=public(settings.backbone),
                categories=settings.categories and public(settings.categories),
            )
            found[path.name] = replace(result, settings=without_paths)
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


def _card(
    repo_id: str,
    header: CheckpointHeader,
    results: Sequence[BenchResult],
    parameters: int,
    public: bool,
) -> str:
    """Return the card; `public` means that others can load the backbone by name."""
    settings = [
        *sorted(header.options.items()),
        *sorted(header.train.items()),
        ("seed", header.seed),
        ("fingerprint of the backbone", header.backbone_fingerprint),
        ("fingerprint of the training rows", header.train_fingerprint),
    ]
    rows = [
        (escape(name), code(v if isinstance(v, str) else json.dumps(v))) for name, v in settings
    ]
    note = f"The backbone {code(header.backbone)} is not on the Hub; `PATH` is your copy of it.\n\n"
    template = Path(__file__).with_name("method_card.md").read_text(encoding="utf-8")
    return Template(template).substitute(
        front_matter=dump(_metadata(repo_id, header, results, public)),
        name=escape(repo_id.partition("/")[2]),
        method=code(header.method),
        backbone=code(header.backbone),
        parameters=f"{parameters:,}",
        note="" if public else note,
        repo_id=repo_id,
        argument="" if public else ', backbone="PATH"',
        option="" if public else " --backbone PATH",
        results=_result_table(results),
        settings=markdown_table(("setting", "value"), rows),
    )


def _metadata(
    repo_id: str, header: CheckpointHeader, results: Sequence[BenchResult], public: bool
) -> dict[str, Any]:
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    data: dict[str, Any] = {
        "library_name": "fdrd",
        "tags": [*(tag for tag in TAGS if tag != "hard-negatives"), header.method],
    }
    if public and header.backbone != EMBEDDED:
        data["base_model"] = header.backbone.partition("@")[0]
    entries = [
        EvalResult(
            task_type="image-text-retrieval",
            task_name="Image-text retrieval",
            dataset_type=result.settings.data.name,
            dataset_name=", ".join([result.settings.data.name, *_subset(result)]),
            dataset_config=", ".join(_subset(result))
            or None,  # distinguishes entries of one dataset
            dataset_split=result.settings.split,
            dataset_args={"fingerprint": result.settings.data.fingerprint},
            metric_type=kind,
            metric_name=name,
            metric_value=value,
        )
        for result in results
        for kind, name, value in _metrics(result)
    ]
    if entries:
        data["model-index"] = eval_results_to_model_index(repo_id.partition("/")[2], entries)
    return data


def _result_table(results: Sequence[BenchResult]) -> str:
    if not results:
        return "No results were published with these weights."
    head = ("data", "split", *(name for _, name, _ in _metrics(results[0])))
    rows = [
        (
            escape(", ".join([result.settings.data.name, *_subset(result)])),
            escape(result.settings.split),
            *(f"{100 * value:.2f}" for _, _, value in _metrics(result)),
        )
        for result in results
    ]
    return (
        "In percent. A caption is correct if it belongs to the same image, and ties count against the method.\n\n"
        f"{markdown_table(head, rows, 2)}\n\n`results/` holds the rank of every query."
    )


def _metrics(result: BenchResult) -> Iterator[tuple[str, str, float]]:
    """Yield (type, name, fraction) of the strict recalls and MRR in both directions."""
    for direction in DIRECTIONS:
        side, shown = result.metrics.direction(direction).strict, direction.replace("_", "-")
        for cutoff, value in side.recall.items():
            k = cutoff.removeprefix("R@")
            yield f"{direction}_recall_at_{k}", f"{shown} {cutoff}", value
        yield f"{direction}_mrr", f"{shown} MRR", side.mrr


def _subset(result: BenchResult) -> list[str]:
    """Return the evaluated part of a dataset and the gallery, nothing if it is simply a split."""
    settings = result.settings
    parts = [settings.domain] if settings.domain else []
    parts += [f"{settings.half} categories"] if settings.half else []
    return parts + ([f"gallery {settings.gallery}"] if settings.gallery != "domain" else [])
