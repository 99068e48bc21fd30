"""The card of a trained method on the Hub: metadata with results in the `model-index` form, and sections."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.checkpoint import CheckpointHeader
from benchmark.evaluation.metrics import DIRECTIONS
from benchmark.result import BenchResult
from fdrd.card.front_matter import TAGS
from fdrd.text.markup import code, escape

_TASK = "image-text-retrieval"
_ORDER = ("title", "load", "results", "options", "fingerprints", "limits")


@dataclass(frozen=True)
class About:
    """What a card is about."""

    repo_id: str
    header: CheckpointHeader
    results: Sequence[BenchResult]
    parameters: int
    """numbers that were learned"""
    on_hub: bool
    """whether others can have the backbone"""


def metadata(about: About) -> dict[str, Any]:
    """The YAML at the head of the card."""
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    said: dict[str, Any] = {
        "library_name": "fdrd",
        "tags": [*(tag for tag in TAGS if tag != "hard-negatives"), about.header.method],
    }
    if about.on_hub and about.header.backbone != "embedded":
        said["base_model"] = about.header.backbone.partition("@")[0]
    if not about.results:
        return said
    entries = [
        EvalResult(
            task_type=_TASK,
            task_name="Image-text retrieval",
            dataset_type=result.settings.data.name,
            dataset_name=_measured_on(result),
            dataset_config=_part(result) or None,  # entries of one dataset are told apart by it
            dataset_split=result.settings.split,
            dataset_args={"fingerprint": result.settings.data.fingerprint},
            metric_type=kind,
            metric_name=name,
            metric_value=value,
        )
        for result in about.results
        for kind, name, value in _numbers(result)
    ]
    name = about.repo_id.partition("/")[2]
    return {**said, "model-index": eval_results_to_model_index(name, entries)}


def card_sections(about: About) -> dict[str, str]:
    """The text below, section by section."""
    header = about.header
    made = {
        "title": f"# {escape(about.repo_id.partition('/')[2])}\n\n"
        f"What the method {code(header.method)} of [fdrd](https://arxiv.org/abs/2508.04028) learned on the "
        f"frozen backbone {code(header.backbone)}: {about.parameters:,} numbers, as tensors, for "
        f"fine-grained image-text retrieval.",
        "load": _load(about),
        "results": _results(about.results),
        "options": "## Options\n\n"
        + _table(("option", "value"), sorted(header.options.items()))
        + "\n\nTraining:\n\n"
        + _table(("option", "value"), [*sorted(header.train.items()), ("seed", header.seed)]),
        "fingerprints": "## Fingerprints\n\n"
        + _table(
            ("of", "sha256"),
            [
                ("backbone: weights, preprocessing, tokenizer", header.backbone_fingerprint),
                ("rows that it learned from", header.train_fingerprint),
            ],
        ),
        "limits": "## Limits\n\nIt works with that backbone alone; another one is refused, by the fingerprint. "
        "Numbers hold for the data that they were measured on.",
    }
    return {name: made[name] for name in _ORDER if made[name]}


def _load(about: About) -> str:
    backbone = "" if about.on_hub else ', backbone="PATH"'
    option = "" if about.on_hub else " --backbone PATH"
    note = (
        ""
        if about.on_hub
        else f"\nThe backbone {code(about.header.backbone)} is not on the Hub: `PATH` is where you have it.\n"
    )
    return f"""## Load
{note}
```python
import baselines, dcar, benchmark, fdrd

method = benchmark.load_method("{about.repo_id}"{backbone})
features = method.encode_text(["a black car on a brick driveway"]).pooled  # (1, d), unit length
hits = benchmark.search(method, [fdrd.load("fdrd", "test")], "a black car on a brick driveway")
```

```sh
fdrd bench --checkpoint {about.repo_id}{option}
fdrd search fdrd "a black car on a brick driveway" --checkpoint {about.repo_id}{option}
```

The file holds tensors and JSON. Nothing of it is unpickled or run."""


def _results(results: Sequence[BenchResult]) -> str:
    if not results:
        return ""
    names = [name for _, name, _ in _numbers(results[0])]
    head = ("data", "split", *names)
    rows = [
        (
            _measured_on(result),
            result.settings.split,
            *(f"{100 * value:.2f}" for _, _, value in _numbers(result)),
        )
        for result in results
    ]
    lines = ["| " + " | ".join(escape(str(cell)) for cell in row) + " |" for row in (head, *rows)]
    lines.insert(1, "|---|---|" + "---:|" * len(names))
    return (
        "## Results\n\nIn percent; a caption is right if it belongs to the same image, and a tie counts "
        "against the method.\n\n"
        + "\n".join(lines)
        + "\n\n`results/` holds the rank of every query."
    )


def _numbers(result: BenchResult) -> list[tuple[str, str, float]]:
    """(kind, name, fraction) of the strict recalls and the MRR, both ways."""
    found = []
    for direction in DIRECTIONS:
        side = getattr(result.metrics, direction).strict
        said = direction.replace("_", "-")
        for cutoff, value in side.recall.items():
            k = cutoff.removeprefix("R@")
            found.append((f"{direction}_recall_at_{k}", f"{said} {cutoff}", value))
        found.append((f"{direction}_mrr", f"{said} MRR", side.mrr))
    return found


def _measured_on(result: BenchResult) -> str:
    return ", ".join(filter(None, (result.settings.data.name, _part(result))))


def _part(result: BenchResult) -> str:
    """What of a dataset was measured, and how, where it is not simply a split."""
    said = result.settings
    parts = [said.domain] if said.domain else []
    parts += [f"{said.half} categories"] if said.half else []
    parts += [f"gallery {said.gallery}"] if said.gallery != "domain" else []
    return ", ".join(parts)


def _table(head: tuple[str, str], rows: Sequence[tuple[str, Any]]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    for name, value in rows:
        shown = value if isinstance(value, str) else json.dumps(value)
        lines.append(f"| {escape(name)} | {code(shown)} |")
    return "\n".join(lines)
