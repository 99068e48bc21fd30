"""Push a trained method to the Hub: its tensors, or the fine-tuned model, with its results and a card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from math import prod
from pathlib import Path
from typing import Any

import msgspec
import safetensors
import safetensors.torch

from benchmark.checkpoint import checkpoint_bytes, learned_tensors, load_method
from benchmark.checkpoint_files import WEIGHTS, CheckpointHeader, find_checkpoint, read_header
from benchmark.models.backbone import ALL
from benchmark.models.backbone import WEIGHTS as TRAINED_WEIGHTS
from benchmark.models.tensor_files import writing_tensors
from benchmark.registry import method_names, obstacle
from benchmark.reporting.method_card import is_public, method_card, public_name, published_results
from benchmark.result import BenchResult, read_result
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_folder
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

TRAINING = "fdrd.json"
"""File of an exported model that says how it was trained."""


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
    plan = prepare(publication(Path(trained), repo_id), options)
    return execute(plan, progress=progress)


def publication(trained: Path, repo_id: str) -> Publication:
    """Return the content of a model repository: of a checkpoint, or of an exported model."""
    made = _model_publication if trained.is_dir() else _method_publication
    return made(trained, repo_id)


def export_model(checkpoint: str | Path, out: Path, backbone: str | None = None) -> Path:
    """Write the model of a fine-tuning (`full`, `lora`, `negclip`, ...) as `transformers` loads it.

    The folder also holds its tokenizer, its image processor and, for `push`, the results of the training.

    Args:
        checkpoint: checkpoint, as `find_checkpoint` takes it.
        out: a new or empty folder, which `--backbone` takes, too.
        backbone: name of the backbone, by default the one that the checkpoint names.

    Raises:
        FdrdError: the method leaves the backbone frozen.
    """
    path = find_checkpoint(checkpoint)
    header = _public_header(path)
    with atomic_folder(out) as folder:  # refuse an occupied folder before the slow part
        method: Any = load_method(path, backbone=backbone, allow_code=backbone is not None)
        if method.trains != "backbone":
            raise FdrdError(
                f"{checkpoint} leaves its backbone frozen, so there is no model to write; "
                f"give --checkpoint {checkpoint} to `fdrd bench` and `fdrd search`"
            )
        with writing_tensors(out):
            method.save_pretrained(folder)
        (folder / TRAINING).write_text(json.dumps(asdict(header), indent=1), encoding="utf-8")
        (folder / "results").mkdir()
        for name, content in _as_files(published_results(path, header.method)).items():
            (folder / name).write_bytes(content)
    return out


def _method_publication(checkpoint: Path, repo_id: str) -> Publication:
    header = _public_header(checkpoint)
    results = published_results(checkpoint, header.method)
    tensors = learned_tensors(checkpoint)
    content = {WEIGHTS: checkpoint_bytes(tensors, header), **_as_files(results)}
    parameters = sum(value.numel() for value in tensors.values())
    notes = []
    if not is_public(header.backbone):
        notes.append(
            f"The backbone {header.backbone} is not on the Hub: users must have it and pass --backbone."
        )
    if header.method in method_names() and obstacle(header.method, {}, ALL - {TRAINED_WEIGHTS}):
        notes.append(
            f"Only fdrd loads this checkpoint. For a model that transformers loads, push the folder that "
            f"`fdrd export {checkpoint} FOLDER --to transformers` writes."
        )
    metadata = {"library_name": "fdrd"}
    card = method_card("method_card.md", repo_id, header, [*results.values()], parameters, metadata)
    title = f"{header.method}, trained on {header.backbone} with fdrd"
    usage = f"fdrd bench --checkpoint {repo_id}"
    return _repository(repo_id, title, card, content, usage, "\n".join(notes))


def _model_publication(folder: Path, repo_id: str) -> Publication:
    try:
        header = msgspec.json.decode((folder / TRAINING).read_bytes(), type=CheckpointHeader)
    except (OSError, msgspec.MsgspecError) as error:
        raise FdrdError(
            f"{folder} is not a model that `fdrd export --to transformers` wrote from a checkpoint ({error}); "
            f"`hf upload {repo_id} {folder}` publishes any other model"
        ) from error
    results = [read_result(path) for path in sorted((folder / "results").glob("*.json"))]
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted([*folder.glob("[!.]*"), *folder.glob("results/*.json")])
        if path.is_file() and path.name != CARD
    }
    metadata = {"library_name": "transformers", "pipeline_tag": "zero-shot-image-classification"}
    card = method_card("model_card.md", repo_id, header, results, _parameters(folder), metadata)
    title = f"{header.backbone}, fine-tuned by {header.method} with fdrd"
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


def _public_header(checkpoint: Path) -> CheckpointHeader:
    header = read_header(checkpoint)
    return replace(header, backbone=public_name(header.backbone))


def _as_files(results: Mapping[str, BenchResult]) -> dict[str, bytes]:
    return {
        f"results/{name}": (json.dumps(result.to_dict(), indent=1) + "\n").encode()
        for name, result in results.items()
    }


def _parameters(folder: Path) -> int:
    total = 0
    for path in folder.glob("*.safetensors"):
        with safetensors.safe_open(path, "pt") as file:
            total += sum(prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
    return total
