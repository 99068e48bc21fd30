"""`fdrd search`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from fdrd.commands.console import out, quiet_transformers, show_progress
from fdrd.commands.options import Backbone, Count, Dataset, Device, Json, Plugins, load_plugins
from fdrd.errors import FdrdError
from fdrd.kinds import is_image_name, kind_of


def search(
    dataset: Dataset,
    query: Annotated[str | None, typer.Argument(metavar="QUERY")] = None,
    image: Annotated[Path | None, typer.Option(metavar="FILE")] = None,
    k: Count = 10,
    method: str = "zero_shot",
    checkpoint: Annotated[str | None, typer.Option(metavar="FILE")] = None,
    backbone: Backbone = None,
    split: str | None = None,
    domain: str | None = None,
    plugin: Plugins = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Find the images that match a text, or the captions that match an image.

    Features of a frozen backbone are cached, so a second search is fast.

    Args:
        dataset: Folder, registered name or Hub id of a dataset.
        query: Description of the image; or give --image.
        image: Search captions with this image instead.
        k: Number of records.
        method: Method that needs no training.
        checkpoint: Search with a trained method: a .safetensors file that `fdrd bench` wrote, or a Hub model as
            ORG/NAME.
        split: Search only this split; all by default.
        domain: Search only this domain.

    Examples:
        fdrd search data/fdrd "a black car on a brick driveway"
    """
    if (query is None) == (image is None):
        example = '"a black car on a brick driveway"'
        raise FdrdError(f"give either a text, e.g. {example}, or --image FILE")
    _check_order(dataset, query)
    quiet_transformers()
    from benchmark.checkpoint import find_checkpoint
    from benchmark.models.loading import check_backbone_name, check_device
    from benchmark.registry import chosen_methods
    from fdrd.dataset import load_splits

    load_plugins(plugin)
    chosen_methods([method])
    check_device(device)
    if backbone:
        check_backbone_name(backbone)
    if checkpoint:
        find_checkpoint(checkpoint)
    splits = load_splits(dataset, split, domain)  # before torch is imported
    from benchmark.dataset_search import search as run_search
    from fdrd.images.check import open_image

    wanted: Any = query if image is None else open_image(image)
    with show_progress("Encoded features are saved; the same command continues.") as bar:
        hits = run_search(
            splits,
            wanted,
            method=method,
            checkpoint=checkpoint,
            backbone=backbone,
            k=k,
            device=device,
            allow_code=True,
            progress=bar,
        )
    if json:
        out.json(hits)
    else:
        _print_hits(hits)


def _check_order(data: str, query: str | None) -> None:
    """Raise `FdrdError` if the query is the path of an image, or dataset and query are swapped."""
    first, second = Path(data), Path(query or "")
    if query and kind_of(first) != "dataset" and kind_of(second) == "dataset":
        swapped = ["--image", data] if is_image_name(data) else [data]
        command = shlex.join(["fdrd", "search", query, *swapped])
        raise FdrdError(f"{query} is a dataset, which comes first: {command}")
    if query and is_image_name(second.name) and (kind_of(second) or " " not in query):
        remedy = f"give --image {shlex.quote(query)}"
        raise FdrdError(f"{query} is the name of an image, not a description; {remedy}")


def _print_hits(hits: Any) -> None:
    rows = []
    for hit in hits:
        record, rank, score = hit.record, str(hit.rank), f"{hit.score:.4f}"
        where = f"{record['domain']}/{hit.split}: {record['source']['file']}"
        rows.append((rank, score, record["category"], record["caption"], where))
    out.table(("rank", "score", "category", "caption", "image"), rows)
