"""The options of `fdrd caption`. Less used ones are named in its help, and described on the page."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fdrd.commands.help import RARE

_rare = partial(typer.Option, rich_help_panel=RARE)

Captioner = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="transformers, endpoint, template, reader, or a plugin's captioner."
    ),
]
SourceArgument = Annotated[
    str | None,
    typer.Argument(metavar="SOURCE", help="Folder of images, in a layout of `fdrd build`."),
]
Source = Annotated[str | None, typer.Option(hidden=True)]
Target = Annotated[
    Path,
    typer.Option("--out", "-o", metavar="FOLDER", help="Output folder, a source for `fdrd build`."),
]
Option = Annotated[
    list[str],
    typer.Option(
        "--captioner-option",
        "-C",
        metavar="NAME=VALUE",
        help="Option of the captioner; repeatable.",
    ),
]
Evaluator = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Captioner that checks each draft: transformers or endpoint."
    ),
]
EvaluatorOption = Annotated[
    list[str],
    typer.Option(
        "--evaluator-option",
        "-E",
        metavar="NAME=VALUE",
        help="Option of the evaluator; repeatable.",
    ),
]
Rounds = Annotated[
    int, typer.Option(metavar="N", min=1, help="Maximum number of drafts per image.")
]
Questions = Annotated[
    Path | None, _rare(help="Text file of prompts with {category} and {dataset}.")
]
Opening = Annotated[
    str, _rare(help="Text before captions without their category, with {a category}.")
]
Without = Annotated[list[str], _rare(help="Ignore this filter; `fdrd caption --list` lists them.")]
Backbone = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="CLIP model that scores captions and counts tokens."),
]
MinClipScore = Annotated[
    float | None,
    typer.Option(metavar="COSINE", help="Reject captions below this cosine; needs --backbone."),
]
Sample = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Caption a fixed sample of this many images.")
]
Budget = Annotated[
    float | None,
    typer.Option(
        metavar="AMOUNT", min=0, help="Stop before spending more, in the prices' currency."
    ),
]
List = Annotated[
    bool,
    typer.Option(
        "--list",
        help="List captioners and their options, noise filters, and why an image gets no caption; then stop.",
    ),
]
AnswersFile = Annotated[
    Path | None, _rare("--cache", help="Answer file; by default in the user's cache.")
]
MaxPixels = Annotated[int, _rare(min=1, help="Reject images with more pixels.")]
