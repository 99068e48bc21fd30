"""The card of a trained method or fine-tuned model on the Hub, and the results that go with it.

Local paths are not published: a backbone or dataset that was a path is named by its last component.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from string import Template
from typing import Any

from benchmark.checkpoint_files import CheckpointHeader
from benchmark.models.loading import EMBEDDED
from benchmark.rank_metrics import BOTH
from benchmark.result import BenchResult, read_result
from benchmark.retrieval_metrics import main_columns
from benchmark.settings import Named
from fdrd.card.front_matter import TAGS, dump
from fdrd.errors import FdrdError
from fdrd.files.atomic import sha256_of
from fdrd.text.markup import code, escape, markdown_table

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w./-]+)?(#[\w=,]+)?")


def published_results(checkpoint: Path, method: str) -> dict[str, BenchResult]:
    """Return by file name the results next to a checkpoint that come from its training, without local paths."""

    def public(named: Named) -> Named:
        return Named(public_name(named.name), named.fingerprint)

    digest, beside = sha256_of(checkpoint), checkpoint.with_suffix(".json")
    learned = read_result(beside).settings.training() if beside.is_file() else None
    found = {}
    for path in sorted(checkpoint.parent.glob(f"{method}-*.json")):
        try:
            result = read_result(path)
        except FdrdError:  # written by another version
            continue
        settings = result.settings
        if digest == settings.checkpoint or settings.training() == learned:
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
    >>> public_name("org/model#precision=bfloat16"), public_name("/home/me/model#pool=patches")
    ('org/model#precision=bfloat16', 'model#pool=patches')
    """
    prefix, colon, rest = name.partition(":")
    if colon and prefix in ("hf", "st", "open_clip", "features"):
        return f"{prefix}:{public_name(rest)}"
    is_path = (
        name.startswith(("/", ".", "~")) or Path(name).exists() or not _HUB_NAME.fullmatch(name)
    )
    return Path(name).name if is_path else name


def is_public(backbone: str) -> bool:
    """Return whether others can load a backbone by this name."""
    name = backbone.removeprefix("hf:")
    return name.partition("#")[0] == EMBEDDED or bool(_HUB_NAME.fullmatch(name))


def method_card(
    template: str,
    repo_id: str,
    header: CheckpointHeader,
    results: Sequence[BenchResult],
    parameters: int,
    metadata: Mapping[str, Any],
) -> str:
    """Return the card of a training."""
    public = is_public(header.backbone)
    settings = [
        *sorted(header.options.items()),
        *sorted(vars(header.train).items() if header.train else ()),
        ("seed", header.seed),
        ("fingerprint of the backbone", header.backbone_fingerprint),
        ("fingerprint of the training rows", header.train_fingerprint),
    ]
    rows = [
        (escape(name), code(v if isinstance(v, str) else json.dumps(v))) for name, v in settings
    ]
    note = f"The backbone {code(header.backbone)} is not on the Hub; `PATH` is your copy of it.\n\n"
    text = Path(__file__).with_name(template).read_text(encoding="utf-8")
    return Template(text).substitute(
        front_matter=dump({**metadata, **_metadata(repo_id, header, results)}),
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
    repo_id: str, header: CheckpointHeader, results: Sequence[BenchResult]
) -> dict[str, Any]:
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    data: dict[str, Any] = {
        "tags": [*(tag for tag in TAGS if tag != "hard-negatives"), header.method]
    }
    named = header.backbone.partition("#")[0]
    if is_public(named) and named != EMBEDDED:
        data["base_model"] = named.removeprefix("hf:").partition("@")[0]
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
    """Yield (type, heading, fraction) of the main metrics that were measured."""
    for column in main_columns():
        value = column.value(result.metrics)
        if value is not None and column.unit == "%":
            words = column.name.replace("R@", "recall at ").lower()
            direction = [] if column.direction == BOTH else [column.direction]
            yield "_".join([*direction, *re.findall(r"\w+", words)]), column.title, value


def _subset(result: BenchResult) -> list[str]:
    """Return the evaluated part of a dataset and the gallery, nothing if it is simply a split."""
    settings = result.settings
    parts = [settings.domain] if settings.domain else []
    parts += [f"{settings.half} categories"] if settings.half else []
    return parts + ([f"gallery {settings.gallery}"] if settings.gallery != "domain" else [])
