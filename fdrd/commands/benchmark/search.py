"""`fdrd search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fdrd.commands.benchmark.known_methods import quiet_transformers, register_methods
from fdrd.commands.console import Json, app, print_json, print_table, show_progress
from fdrd.errors import FdrdError


@app.command(epilog='Example:  fdrd search data/fdrd "a black car on a brick driveway"')
def search(
    data: Annotated[str, typer.Argument(help="Folder, registered name or Hub id.")],
    query: Annotated[str | None, typer.Argument(help="What the image shows; or --image.")] = None,
    image: Annotated[
        Path | None, typer.Option(help="A picture instead: its captions are found.")
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="How many records.")] = 10,
    method: Annotated[str, typer.Option(help="One that needs no training.")] = "zero_shot",
    checkpoint: Annotated[
        str | None,
        typer.Option(
            help="A trained method instead: a .safetensors file that `fdrd bench` wrote, or a "
            "model of the Hub, as ORG/NAME."
        ),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="As of `fdrd bench`; by default what the checkpoint names.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only this split; all by default.")] = None,
    domain: Annotated[str | None, typer.Option(help="Only this domain.")] = None,
    plugin: Annotated[
        list[str], typer.Option(help="Import this module first, to know its methods.")
    ] = [],  # noqa: B006
    device: Annotated[str | None, typer.Option(help="cpu or cuda; the best by default.")] = None,
    json: Json = False,
) -> None:
    """Find the images that a text describes, or the captions that a picture asks for.

    Features of a frozen backbone are kept, so a second search is fast.
    """
    if (query is None) == (image is None):
        raise FdrdError('give either a text, as "a black car on a brick driveway", or --image FILE')
    register_methods(plugin)
    from dataclasses import asdict

    from benchmark.dataset_search import search_data
    from fdrd.images.check import open_image

    quiet_transformers()
    asked: Any = query if image is None else open_image(image)
    with show_progress("What was encoded is kept; the same command goes on from there.") as bar:
        hits = search_data(
            data, asked, method=method, checkpoint=checkpoint, backbone=backbone, split=split,
            domain=domain, k=k, device=device, allow_code=True, progress=bar,
        )  # fmt: skip
    if json:
        print_json([asdict(hit) for hit in hits])
    else:
        _print_hits(hits)


def _print_hits(hits: Any) -> None:
    rows = []
    for hit in hits:
        record = hit.record
        where = f"{record['domain']}/{hit.split}: {record['source']['file']}"
        rows.append(
            (str(hit.rank), f"{hit.score:.4f}", record["category"], record["caption"], where)
        )
    print_table(("rank", "score", "category", "caption", "image"), rows)
