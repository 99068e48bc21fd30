"""`fdrd export`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fdrd.commands.console import err, out, quiet_transformers, show_progress
from fdrd.commands.options import Device, Json, SameTarget, Target, one_of
from fdrd.errors import FdrdError
from fdrd.exports import FORMATS, Task, format_module
from fdrd.kinds import kind_of

_OTHERS = {
    "features": "features of images and captions, for --backbone features:FOLDER",
    "transformers": "a model as transformers loads it",
}
_FORMATS = "; ".join(f"{name}: {description}" for name, description in (FORMATS | _OTHERS).items())
_tar = partial(typer.Option, rich_help_panel="webdataset")
_encoder = partial(typer.Option, rich_help_panel="features and transformers")
_model = partial(typer.Option, rich_help_panel="transformers")


def export(
    dataset: Annotated[str, typer.Argument(metavar="DATASET")],
    folder: Target = None,
    to: Annotated[str, typer.Option(metavar="FORMAT", help=f"{_FORMATS}.")] = "parquet",
    target: SameTarget = None,
    split: str | None = None,
    domain: str | None = None,
    task: Annotated[Task | None, _tar()] = None,
    shard_mb: Annotated[int | None, _tar(metavar="N", min=1)] = None,
    backbone: Annotated[str | None, _encoder(metavar="NAME")] = None,
    device: Device = None,
    config: Annotated[Path | None, _model(metavar="FILE")] = None,
    activation: Annotated[Literal["gelu", "quick_gelu"] | None, _model()] = None,
    tokenizer: Annotated[str | None, _model(metavar="NAME")] = None,
    json: Json = False,
) -> None:
    """Write a dataset, its features or a model in the format of another tool.

    Each domain becomes a folder. `fdrd build` reads parquet, webdataset, coco, karpathy, jsonl and imagefolder back.
    webdataset has tar shards for clip_benchmark, with one root per domain. Recalls equal those of `fdrd bench` except
    for ties, which clip_benchmark breaks arbitrarily.

    transformers converts a checkpoint of open_clip, OpenAI, transformers (.bin) or of a fine-tuning with `fdrd bench`.
    Only tensors are loaded: a file that holds code or objects is refused, and so is anything that a CLIPModel cannot
    express.

    Args:
        dataset: Folder, registered name or Hub id of a dataset; with --to transformers the weights of a model: a .pt,
            .pth, .bin or .safetensors file, or a folder that holds one.
        split: Only this split.
        domain: Only this domain.
        task: Captions for retrieval (default), or class names for classification and probes.
        shard_mb: Close a shard at this size; default: 1000.
        backbone: Backbone of the features, or of a checkpoint of `fdrd bench`; default: the one that the dataset or the
            checkpoint names.
        config: Description of the model: open_clip_config.json, one of open_clip's model_configs, or a CLIPModel's
            config.json; default: the one next to the weights.
        activation: If no description says it: quick_gelu for OpenAI's models and models fine-tuned from them, gelu for
            most others.
        tokenizer: Folder, Hub id, or open_clip's bpe_simple_vocab_16e6.txt.gz; default: CLIP's, from the Hub.

    Examples:
        fdrd export data/fdrd tables/
        fdrd export data/fdrd wds/ --to webdataset
        fdrd export data/fdrd stored/ --to features --backbone embedded
        fdrd export open_clip_pytorch_model.bin clip/ --to transformers --activation gelu
    """
    home = Path(one_of(folder, target, "give one FOLDER to write to, e.g. -o wds/"))
    if kind_of(home) == "dataset" and kind_of(Path(dataset)) != "dataset":
        raise FdrdError(f"{home} is a dataset, which comes first: fdrd export {home} {dataset}")
    if to not in FORMATS | _OTHERS:
        raise FdrdError(f"--to {to}: choose from {', '.join(FORMATS | _OTHERS)}")
    limits = {"split": split, "domain": domain}
    shards = {"task": task, "shard-mb": shard_mb}
    weights: dict[str, Any] = {"config": config, "activation": activation, "tokenizer": tokenizer}
    encoder = {"backbone": backbone, "device": device}
    if to == "features":
        _refuse(to, shards | weights)
        _write_features(dataset, home, **encoder, **limits)
    elif to == "transformers":
        _refuse(to, limits | shards | {"device": device})
        _convert(Path(dataset), home, backbone, **weights)
    else:
        _refuse(to, weights | encoder | ({} if to == "webdataset" else shards))
        task, shard_mb = task or "zeroshot_retrieval", shard_mb or 1000
        _write_dataset(dataset, home, to, task, shard_mb, json, **limits)


def _refuse(to: str, options: dict[str, Any]) -> None:
    if names := [f"--{name}" for name, value in options.items() if value is not None]:
        raise FdrdError(f"--to {to} has no {' and no '.join(names)}; remove it")


def _write_dataset(
    dataset: str, home: Path, to: Any, task: Task, shard_mb: int, json: bool, **limits: Any
) -> None:
    from fdrd.exports.writing import export as write_export

    with show_progress("Nothing was written; run the command again to start over.") as progress:
        limits |= {"task": task, "shard_bytes": shard_mb * 10**6}
        splits = write_export(dataset, home, to=to, progress=progress, **limits)
    err.print(f"Wrote {home}. Not carried over: {format_module(to).NOT_CARRIED}", soft_wrap=True)
    if json:
        out.json(splits)
        return
    out.table(
        ("domain", "split", "images", "captions"),
        [(each.domain, each.split, f"{each.images:,}", f"{each.captions:,}") for each in splits],
    )
    if to == "webdataset":
        last = splits[-1]
        recall = " --recall_k 1 5 10 --no_amp" if task == "zeroshot_retrieval" else ""
        out.hint(
            f"Next:  clip_benchmark eval --dataset wds/{last.domain} --split {last.split} "
            f"--dataset_root {home}/{last.domain} --task {task}{recall}"
        )


def _write_features(
    dataset: str, home: Path, backbone: str | None, device: str | None, **limits: Any
) -> None:
    quiet_transformers()
    from benchmark.models.loading import check_backbone_name, check_device
    from fdrd.dataset import load_splits
    from fdrd.files.atomic import check_empty

    check_empty(home)
    check_device(device)
    if backbone:
        check_backbone_name(backbone)
    splits = load_splits(dataset, **limits)
    from benchmark.models.encoders.stored import write_features
    from benchmark.runner.plan import open_backbone

    encoder = open_backbone(backbone, dataset, device=device, allow_code=backbone is not None)
    with show_progress("Cached features stay; the same command continues.") as progress:
        write_features(encoder, splits, home, progress)
    out.print(f"Wrote {home}")
    out.hint(f"Next:  fdrd bench --method zero_shot --backbone features:{home}")


def _convert(weights: Path, home: Path, backbone: str | None, **description: Any) -> None:
    quiet_transformers()
    from benchmark.checkpoint import is_checkpoint
    from benchmark.models.conversion import convert
    from benchmark.reporting.publishing import export_model

    push = ""
    if is_checkpoint(weights):
        _refuse("transformers of a checkpoint", description)
        export_model(weights, home, backbone)
        push = f"        fdrd push {home} --repo-id ORG/NAME"
    else:
        activation = description.pop("activation")
        quick = None if activation is None else activation == "quick_gelu"
        convert(weights, home, quick_gelu=quick, **description)
    out.print(f"Wrote {home}")
    out.hint(f"Next:  fdrd bench --method zero_shot --backbone {home}{push}")
