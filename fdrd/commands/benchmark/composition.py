"""`fdrd composition`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdrd.commands.console import app, print_json, print_table, quiet_transformers, show_progress
from fdrd.commands.options import Backbone, Device, Json, Plugins, load_plugins


@app.command(
    epilog="Example:  fdrd composition sugar-crepe/data --images val2017 --checkpoint coop.safetensors"
)
def composition(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Files of SugarCrepe or SugarCrepe++, or folders of them; or the data folder of ECCV Caption."
        ),
    ],
    images: Annotated[Path, typer.Option(help="Folder of the COCO images that the files name.")],
    captions: Annotated[
        Path | None, typer.Option(help="COCO's captions_val2014.json, for ECCV Caption.")
    ] = None,
    method: Annotated[str, typer.Option(help="Method that needs no training.")] = "zero_shot",
    checkpoint: Annotated[
        str | None,
        typer.Option(
            help="Measure a trained method: a .safetensors file that `fdrd bench` wrote, or a Hub model as "
            "ORG/NAME."
        ),
    ] = None,
    backbone: Backbone = None,
    plugin: Plugins = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Measure a method on SugarCrepe, SugarCrepe++ and ECCV Caption files.

    Each accuracy is printed next to that of the text-only baseline, which sees no image. Equal scores count
    against the method.
    """
    quiet_transformers()
    from dataclasses import asdict

    from benchmark.registry import chosen_methods

    load_plugins(plugin)
    chosen_methods([method])
    from benchmark.checkpoint import ready_method
    from benchmark.evaluation.composition import composition as measure
    from benchmark.evaluation.composition_files import read_composition

    found = read_composition(files, images, captions)
    ready = ready_method(method, checkpoint, backbone, device=device, allow_code=True)
    with show_progress("Nothing is saved; the same command starts over.") as bar:
        scores = measure(ready, found, images, bar)
    if json:
        print_json([asdict(score) for score in scores])
        return

    def percent(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f}"

    print_table(
        ("file", "metric", "%", "text-only", "chance", "rows"),
        [
            (
                each.file,
                each.metric,
                *map(percent, (each.score, each.text_only, each.chance)),
                str(each.rows),
            )
            for each in scores
        ],
    )
