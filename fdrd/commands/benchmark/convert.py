"""`fdrd convert`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fdrd.commands.benchmark.known_methods import quiet_transformers
from fdrd.commands.console import app, out


class Activation(StrEnum):
    """What the towers compute between the two layers of an MLP."""

    gelu = "gelu"
    quick_gelu = "quick_gelu"


@app.command(epilog="Example:  fdrd convert open_clip_pytorch_model.bin clip/ --activation gelu")
def convert(
    source: Annotated[
        Path,
        typer.Argument(help="A .pt, .pth, .bin or .safetensors file, or a folder of one."),
    ],
    folder: Annotated[Path, typer.Argument(help="What --backbone will take; new or empty.")],
    config: Annotated[
        Path | None,
        typer.Option(
            help="Description of the model: open_clip_config.json or one of open_clip's "
            "model_configs, or a CLIPModel's config.json; by default the one beside the weights."
        ),
    ] = None,
    activation: Annotated[
        Activation | None,
        typer.Option(
            help="Where no description says so: quick_gelu for OpenAI's models and those "
            "fine-tuned from them, gelu for most others."
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Folder, Hub id, or open_clip's bpe_simple_vocab_16e6.txt.gz; by default CLIP's, "
            "from the Hub."
        ),
    ] = None,
) -> None:
    """Make a backbone of a checkpoint of open_clip or OpenAI, or of a CLIPModel in a .bin file.

    Tensors are loaded and nothing else: a .pt file that holds code or objects is refused, and none of
    it is run. What a CLIPModel cannot express is refused by name.
    """
    quiet_transformers()
    from benchmark.models.conversion import convert as run_convert

    quick = None if activation is None else activation is Activation.quick_gelu
    run_convert(source, folder, config=config, quick_gelu=quick, tokenizer=tokenizer)
    out.print(f"Wrote {folder}")
    out.print(f"Next:  fdrd bench --method zero_shot --backbone {folder}", style="dim")
