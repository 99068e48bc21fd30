"""Card of a trained method on the Hub, with its results as a `model-index`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Template
from typing import Any

from benchmark.checkpoint import CheckpointHeader
from benchmark.result import DIRECTIONS, BenchResult
from fdrd.card.front_matter import TAGS, dump
from fdrd.text.markup import code, escape, markdown_table

_TEMPLATE = Path(__file__).with_suffix(".md")


def render_method_card(
    repo_id: str,
    header: CheckpointHeader,
    results: Sequence[BenchResult],
    parameters: int,
    public_backbone: bool,
) -> str:
    """Return the card of a trained method; `public_backbone` means that others can load the backbone by name."""
    settings = [*sorted(header.options.items()), *sorted(header.train.items())]
    settings += [
        ("seed", header.seed),
        ("fingerprint of the backbone", header.backbone_fingerprint),
        ("fingerprint of the training rows", header.train_fingerprint),
    ]
    rows = [
        (escape(name), code(v if isinstance(v, str) else json.dumps(v))) for name, v in settings
    ]
    note = f"The backbone {code(header.backbone)} is not on the Hub; `PATH` is your copy of it.\n\n"
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        front_matter=dump(_metadata(repo_id, header, results, public_backbone)),
        name=escape(repo_id.partition("/")[2]),
        method=code(header.method),
        backbone=code(header.backbone),
        parameters=f"{parameters:,}",
        note="" if public_backbone else note,
        repo_id=repo_id,
        argument="" if public_backbone else ', backbone="PATH"',
        option="" if public_backbone else " --backbone PATH",
        results=_results(results),
        settings=markdown_table(("setting", "value"), rows),
    )


def _metadata(
    repo_id: str, header: CheckpointHeader, results: Sequence[BenchResult], public_backbone: bool
) -> dict[str, Any]:
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    data: dict[str, Any] = {
        "library_name": "fdrd",
        "tags": [*(tag for tag in TAGS if tag != "hard-negatives"), header.method],
    }
    if public_backbone and header.backbone != "embedded":
        data["base_model"] = header.backbone.partition("@")[0]
    entries = [
        EvalResult(
            task_type="image-text-retrieval",
            task_name="Image-text retrieval",
            dataset_type=result.settings.data.name,
            dataset_name=_dataset(result),
            dataset_config=_subset(result) or None,  # tells entries of one dataset apart
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


def _results(results: Sequence[BenchResult]) -> str:
    if not results:
        return "No results were published with these weights."
    head = ("data", "split", *(name for _, name, _ in _metrics(results[0])))
    rows = [
        (
            escape(_dataset(result)),
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
        side, shown = getattr(result.metrics, direction).strict, direction.replace("_", "-")
        for cutoff, value in side.recall.items():
            k = cutoff.removeprefix("R@")
            yield f"{direction}_recall_at_{k}", f"{shown} {cutoff}", value
        yield f"{direction}_mrr", f"{shown} MRR", side.mrr


def _dataset(result: BenchResult) -> str:
    return ", ".join(filter(None, (result.settings.data.name, _subset(result))))


def _subset(result: BenchResult) -> str:
    """Return the evaluated part of a dataset and the gallery, unless it is simply a split."""
    settings = result.settings
    parts = [settings.domain] if settings.domain else []
    parts += [f"{settings.half} categories"] if settings.half else []
    parts += [f"gallery {settings.gallery}"] if settings.gallery != "domain" else []
    return ", ".join(parts)
