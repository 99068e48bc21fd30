"""Push a trained method to the Hub: its tensors, or the fine-tuned model, with its results and a card.

Local paths are not published: a backbone or dataset that was a path is named by its last component.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from string import Template
from typing import Any

import msgspec
import safetensors
import safetensors.torch

from benchmark.checkpoint import (
    WEIGHTS,
    checkpoint_bytes,
    find_checkpoint,
    learned_tensors,
    load_method,
    read_header,
)
from benchmark.models.backbone import ALL
from benchmark.models.backbone import WEIGHTS as TRAINED_WEIGHTS
from benchmark.models.loading import EMBEDDED
from benchmark.models.tensor_files import writing_tensors
from benchmark.rank_metrics import BOTH, main_columns
from benchmark.registry import method_names, obstacle
from benchmark.result import BenchResult, read_result
from benchmark.settings import Named, Settings
from fdrd.card.front_matter import TAGS, dump
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_folder, sha256_of
from fdrd.hub.publisher import (
    CARD,
    Publication,
    PushOptions,
    PushResult,
    execute,
    local_file,
    prepare,
)
from fdrd.progress import Progress, silent
from fdrd.text.markup import code, escape, markdown_table

TRAINING = "fdrd.json"
"""File of an exported model that says how it was trained."""

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w./-]+)?(#[\w=,]+)?")


def push(
    trained: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    revision: str = "main",
    tag: str | None = None,
    pull_request: bool = False,
    progress: Progress = silent,
) -> PushResult:
    """Push a trained method to the Hub in one commit.

    `trained` is the `.safetensors` file of a run, whose results are published, too, or a folder that `export_model`
    wrote. The other arguments are those of `PushOptions`.
    """
    options = PushOptions(private, revision, tag, pull_request)
    return execute(prepare(publication(Path(trained), repo_id), options), progress=progress)


def publication(trained: Path, repo_id: str) -> Publication:
    """Return the content of a model repository: of a checkpoint, or of an exported model."""
    if trained.is_dir():
        return _model_publication(trained, repo_id)
    return _method_publication(trained, repo_id)


def export_model(checkpoint: str | Path, out: Path, backbone: str | None = None) -> Path:
    """Write the model of a fine-tuning (`full`, `lora`, `negclip`, ...) as `transformers` loads it.

    The folder also holds its tokenizer, its image processor and, for `push`, the results of the training.

    Args:
        checkpoint: checkpoint, as `find_checkpoint` takes it.
        out: a new or empty folder, which `--backbone` takes, too.
        backbone: name of the backbone, by default the one that the checkpoint names.

    Raises:
        FdrdError: the method leaves the backbone frozen, or has more than a backbone.
    """
    path = find_checkpoint(checkpoint)
    settings = _without_paths(read_header(path).settings)
    with atomic_folder(out) as folder:  # refuse an occupied folder before the slow part
        method: Any = load_method(path, backbone=backbone, allow_code=backbone is not None)
        if not hasattr(method, "save_pretrained"):
            raise FdrdError(
                f"{checkpoint} is no model by itself: its backbone is frozen, or one of several parts; "
                f"give --checkpoint {checkpoint} to `fdrd bench` and `fdrd search`"
            )
        with writing_tensors(out):
            method.save_pretrained(folder)
        (folder / TRAINING).write_bytes(msgspec.json.format(msgspec.json.encode(settings)))
        (folder / "results").mkdir()
        for name, content in _as_files(_published_results(path, settings.method)).items():
            (folder / name).write_bytes(content)
    return out


def _method_publication(checkpoint: Path, repo_id: str) -> Publication:
    settings = _without_paths(read_header(checkpoint).settings)
    method, backbone = settings.method, settings.backbone.name
    results, tensors = _published_results(checkpoint, method), learned_tensors(checkpoint)
    content = {WEIGHTS: checkpoint_bytes(tensors, settings), **_as_files(results)}
    parameters = sum(value.numel() for value in tensors.values())
    notes = []
    if not _is_public(backbone):
        notes.append(
            f"The backbone {backbone} is not on the Hub: users must have it and pass --backbone."
        )
    trains = frozenset({TRAINED_WEIGHTS})
    is_model = method in method_names() and not obstacle(method, {}, trains)
    if is_model and obstacle(method, {}, ALL - trains):
        notes.append(
            f"Only fdrd loads this checkpoint. For a model that transformers loads, push the folder that "
            f"`fdrd export {checkpoint} FOLDER --to transformers` writes."
        )
    metadata = {"library_name": "fdrd"}
    template, found = "method_card.md", [*results.values()]
    card = method_card(template, repo_id, settings, found, parameters, metadata)
    title = f"{method}, trained on {backbone} with fdrd"
    usage = f"fdrd bench --checkpoint {repo_id}"
    return _repository(repo_id, title, card, content, usage, "\n".join(notes))


def _model_publication(folder: Path, repo_id: str) -> Publication:
    try:
        settings = msgspec.json.decode((folder / TRAINING).read_bytes(), type=Settings)
    except (OSError, msgspec.MsgspecError, FdrdError) as error:
        raise FdrdError(
            f"{folder} is not a model that `fdrd export --to transformers` wrote from a checkpoint, "
            f"or another version wrote it ({error}); export again, or "
            f"`hf upload {repo_id} {folder}` publishes any other model"
        ) from error
    results = [read_result(path) for path in sorted((folder / "results").glob("*.json"))]
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted([*folder.glob("[!.]*"), *folder.glob("results/*.json")])
        if path.is_file() and path.name != CARD
    }
    parameters = 0
    for path in folder.glob("*.safetensors"):
        with safetensors.safe_open(path, "pt") as file:
            shapes = [file.get_slice(key).get_shape() for key in file.keys()]  # noqa: SIM118
            parameters += sum(map(prod, shapes))
    metadata = {"library_name": "transformers", "pipeline_tag": "zero-shot-image-classification"}
    card = method_card("model_card.md", repo_id, settings, results, parameters, metadata)
    title = f"{settings.backbone.name}, fine-tuned by {settings.method} with fdrd"
    usage = f"fdrd bench --method zero_shot --backbone {repo_id}"
    return _repository(repo_id, title, card, files, usage)


def _repository(
    repo_id: str,
    title: str,
    card: str,
    files: Mapping[str, bytes] | Mapping[str, Path],
    usage: str,
    note: str = "",
) -> Publication:
    return Publication(
        repo_id=repo_id,
        repo_type="model",
        title=title,
        card=card,
        generated_keys=("model-index",),
        files=lambda: [local_file(name, content) for name, content in files.items()],
        note=note,
        usage=usage,
    )


def _as_files(results: Mapping[str, BenchResult]) -> dict[str, bytes]:
    return {
        f"results/{name}": (json.dumps(result.to_dict(), indent=1) + "\n").encode()
        for name, result in results.items()
    }


def _published_results(checkpoint: Path, method: str) -> dict[str, BenchResult]:
    """Return by file name the results next to a checkpoint that come from its training, without local paths."""
    digest, beside = sha256_of(checkpoint), checkpoint.with_suffix(".json")
    learned = read_result(beside).settings.training() if beside.is_file() else None
    found = {}
    for path in sorted(checkpoint.parent.glob(f"{method}-*.json")):
        try:
            result = read_result(path)
        except FdrdError:  # written by another version
            continue
        if digest == result.settings.checkpoint or result.settings.training() == learned:
            found[path.name] = replace(result, settings=_without_paths(result.settings))
    return found


def _without_paths(settings: Settings) -> Settings:
    def public(named: Named) -> Named:
        return replace(named, name=public_name(named.name))

    base = settings.categories and public(settings.categories)
    data, backbone = public(settings.data), public(settings.backbone)
    return replace(settings, data=data, backbone=backbone, categories=base)


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


def _is_public(backbone: str) -> bool:
    """Return whether others can load a backbone by this name."""
    name = backbone.removeprefix("hf:")
    return name.partition("#")[0] == EMBEDDED or bool(_HUB_NAME.fullmatch(name))


def method_card(
    template: str,
    repo_id: str,
    settings: Settings,
    results: Sequence[BenchResult],
    parameters: int,
    metadata: Mapping[str, Any],
) -> str:
    """Return the card of a training."""
    backbone = settings.backbone.name
    public = _is_public(backbone)
    rows = [
        (escape(name), code(value if isinstance(value, str) else json.dumps(value)))
        for name, value in (
            *sorted(settings.options.items()),
            *sorted(vars(settings.train).items() if settings.train else ()),
            ("seed", settings.seed),
            ("fingerprint of the backbone", settings.backbone.fingerprint),
            ("fingerprint of the training rows", settings.learned_from.get("train")),
        )
    ]
    note = f"The backbone {code(backbone)} is not on the Hub; `PATH` is your copy of it.\n\n"
    text = Path(__file__).with_name(template).read_text(encoding="utf-8")
    return Template(text).substitute(
        front_matter=dump({**metadata, **_metadata(repo_id, settings, results)}),
        name=escape(repo_id.partition("/")[2]),
        method=code(settings.method),
        backbone=code(backbone),
        parameters=f"{parameters:,}",
        note="" if public else note,
        repo_id=repo_id,
        argument="" if public else ', backbone="PATH"',
        option="" if public else " --backbone PATH",
        results=_result_table(results),
        settings=markdown_table(("setting", "value"), rows),
    )


def _metadata(repo_id: str, settings: Settings, results: Sequence[BenchResult]) -> dict[str, Any]:
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    tags = [*(tag for tag in TAGS if tag != "hard-negatives"), settings.method]
    data: dict[str, Any] = {"tags": tags}
    backbone = settings.backbone.name.partition("#")[0]
    if _is_public(backbone) and backbone != EMBEDDED:
        data["base_model"] = backbone.removeprefix("hf:").partition("@")[0]
    entries = [
        EvalResult(
            task_type="image-text-retrieval",
            task_name="Image-text retrieval",
            dataset_type=result.settings.data.name,
            dataset_name=", ".join([result.settings.data.name, *_subset(result)]),
            dataset_config=", ".join(_subset(result)) or None,  # tells entries of one dataset apart
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
