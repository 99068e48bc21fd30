"""`fdrd convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fdrd.commands.console import app, out, print_hint, quiet_transformers
from fdrd.commands.options import SameTarget, Target, one_of


@app.command(epilog="Example:  fdrd convert open_clip_pytorch_model.bin clip/ --activation gelu")
def convert(
    source: Annotated[
        Path,
        typer.Argument(help="A .pt, .pth, .bin or .safetensors file, or a folder that holds one."),
    ],
    folder: Target = None,
    target: SameTarget = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Description of the model: open_clip_config.json, one of open_clip's model_configs, "
            "or a CLIPModel's config.json; by default the one next to the weights."
        ),
    ] = None,
    activation: Annotated[
        Literal["gelu", "quick_gelu"] | None,
        typer.Option(
            help="If no description says it: quick_gelu for OpenAI's models and models fine-tuned "
            "from them, gelu for most others."
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Folder, Hub id, or open_clip's bpe_simple_vocab_16e6.txt.gz; by default CLIP's, "
            "from the Hub."
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="For a checkpoint of `fdrd bench`; by default the backbone that it names."
        ),
    ] = None,
) -> None:
    """Convert a checkpoint of open_clip, OpenAI, transformers (.bin) or a fine-tuning to a folder for --backbone.

    The result is a folder that transformers loads without fdrd, also for `full`, `lora` and `negclip`.

    Only tensors are loaded. A .pt file that holds code or objects is refused, and nothing in it is run.
    Anything that a CLIPModel cannot express is refused by name.
    """
    home = Path(one_of(folder, target, "give one FOLDER to write to, e.g. -o clip/"))
    quiet_transformers()
    from benchmark.checkpoint import is_checkpoint
    from benchmark.models.conversion import convert as run_convert
    from benchmark.reporting.publishing import export_model

    if is_checkpoint(source):
        export_model(source, home, backbone)
        out.print(f"Wrote {home}")
        print_hint(
            f"Next:  fdrd bench --method zero_shot --backbone {home}        "
            f"fdrd push {home} --repo-id ORG/NAME"
        )
        return
    quick = None if activation is None else activation == "quick_gelu"
    run_convert(source, home, config=config, quick_gelu=quick, tokenizer=tokenizer)
    out.print(f"Wrote {home}")
    print_hint(f"Next:  fdrd bench --method zero_shot --backbone {home}")
