"""The options of `fdrd caption`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Captioner = Annotated[
    str, typer.Option(help="transformers, endpoint, template, reader, or a plugin's captioner.")
]
Place = Annotated[
    str | None,
    typer.Argument(metavar="SOURCE", help="Folder of images, in a layout of `fdrd build`."),
]
Source = Annotated[str | None, typer.Option(help="Same as the argument.")]
Target = Annotated[
    Path, typer.Option("--out", "-o", help="Output folder, a source for `fdrd build`.")
]
Option = Annotated[
    list[str], typer.Option("-C", help="Option of the captioner, e.g. -C model=NAME.")
]
Evaluator = Annotated[
    str | None, typer.Option(help="Captioner that checks each draft: transformers or endpoint.")
]
EvaluatorOption = Annotated[
    list[str], typer.Option("-E", help="Option of the evaluator, e.g. -E model=NAME.")
]
Rounds = Annotated[int, typer.Option(min=1, help="Maximum number of drafts per image.")]
Questions = Annotated[
    Path | None, typer.Option(help="Text file of prompts with {category} and {dataset}.")
]
Opening = Annotated[
    str, typer.Option(help="Text before captions without their category, with {a category}.")
]
Without = Annotated[
    list[str], typer.Option(help="Ignore this filter; `fdrd captioners` lists them.")
]
Backbone = Annotated[
    str | None, typer.Option(help="CLIP model that scores captions and counts tokens.")
]
MinClipScore = Annotated[
    float | None, typer.Option(help="Reject captions below this cosine; needs --backbone.")
]
Sample = Annotated[
    int | None, typer.Option(min=1, help="Caption a fixed sample of this many images.")
]
Budget = Annotated[
    float | None,
    typer.Option(min=0, help="Stop before spending more, in the prices' currency."),
]
AnswersFile = Annotated[
    Path | None, typer.Option("--cache", help="Answer file; by default in the user's cache.")
]
MaxPixels = Annotated[int, typer.Option(min=1, help="Reject images with more pixels.")]
