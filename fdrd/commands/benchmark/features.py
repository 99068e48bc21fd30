"""`fdrd features`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdrd.commands.console import app, out, print_hint, quiet_transformers, show_progress
from fdrd.commands.options import Backbone, Data, Device, SameTarget, Target, one_of


@app.command(epilog="Example:  fdrd features data/fdrd stored/ --backbone embedded")
def features(
    data: Data,
    folder: Target = None,
    target: SameTarget = None,
    backbone: Backbone = None,
    split: Annotated[str | None, typer.Option(help="Only this split; all by default.")] = None,
    device: Device = None,
) -> None:
    """Write the features of all images, captions and hard negatives of a dataset.

    --backbone features:FOLDER ranks, tests and adapts them without the model.
    """
    home = Path(one_of(folder, target, "give one FOLDER to write to, e.g. -o stored/"))
    quiet_transformers()
    from fdrd.dataset import load_splits

    splits = load_splits(data, split)  # before torch is imported
    from benchmark.models.encoders.stored import write_features
    from benchmark.runner import open_backbone

    encoder = open_backbone(backbone, data, device=device, allow_code=backbone is not None)
    with show_progress("Cached features stay; the same command continues.") as progress:
        write_features(encoder, splits, home, progress)
    out.print(f"Wrote {home}")
    print_hint(f"Next:  fdrd bench --method zero_shot --backbone features:{home}")
