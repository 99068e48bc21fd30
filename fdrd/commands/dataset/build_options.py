"""The options of `fdrd build`, by panel of its help. Less used ones are named there, and described on the page."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fdrd.commands.help import RARE

_source = partial(typer.Option, rich_help_panel="Source")
_negatives = partial(typer.Option, rich_help_panel="Hard negatives")
_records = partial(typer.Option, rich_help_panel="Records to keep")
_files = partial(typer.Option, rich_help_panel="Dataset")
_rare = partial(typer.Option, rich_help_panel=RARE)
_stop = partial(typer.Option, rich_help_panel="Instead of building")

SourceArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="SOURCE",
        help="Folder of one domain or of several domains; a zip, tar or Parquet file of them; or "
        "hub:ORG/NAME, a dataset on the Hub.",
    ),
]
Source = Annotated[str | None, _source(hidden=True)]
Layout = Annotated[str | None, _source(help="Layout of the source; detected by default.")]
Map = Annotated[
    list[str] | None,
    _source(
        metavar="FIELD=COLUMN",
        help="Column that holds a field, e.g. image=filepath or caption=title,text; repeatable.",
    ),
]
Separator = Annotated[str | None, _rare(help="Separator of tables: one character, or tab.")]
Category = Annotated[str | None, _rare(help="Category of all records.")]
CategoryFrom = Annotated[
    str | None,
    _source(
        metavar="WHERE",
        help="Origin of categories: folder, parent, column:NAME, caption-pattern, or none.",
    ),
]
Explain = Annotated[
    bool,
    _stop("--explain", help="Show the detected layout of each folder and three of its records."),
]
Reasons = Annotated[
    bool,
    _stop(
        "--reasons",
        help="List the reasons for rejecting records, the default actions, and the fixes of records that are kept.",
    ),
]

Name = Annotated[str, _files(help="Name for `load_dataset` on this machine.")]
ShardMb = Annotated[int, _rare(metavar="N", min=1, help="Image bytes per shard, in MiB.")]
Format = Annotated[str, _files(help="Shard format: arrow, or parquet for the Hub's viewer.")]
DefaultBackbone = Annotated[
    str | None,
    _files(
        "--backbone",
        metavar="NAME",
        help="Default backbone for benchmarks, e.g. embedded or a Hub id.",
    ),
]

Seed = Annotated[int, _negatives(metavar="N", help="Seed of hashed splits and hard negatives.")]
Negatives = Annotated[int, _negatives(metavar="N", min=0, help="Hard negatives per pair.")]
AttributeNegatives = Annotated[
    int,
    _negatives(metavar="N", min=0, help="How many of them change an attribute, not the category."),
]

MaxPixels = Annotated[
    int, _rare(metavar="N", min=1, help="Maximum pixels (width times height) of an image.")
]
MinSide = Annotated[
    int, _rare(metavar="N", min=1, help="Minimum pixels of the shorter side of an image.")
]
MaxAspect = Annotated[float, _rare(min=1, help="Maximum ratio of the longer to the shorter side.")]
MaxCaption = Annotated[int, _rare(metavar="N", min=1, help="Maximum characters of a caption.")]
PolicyOptions = Annotated[
    list[str] | None,
    _records(
        metavar="REASON=ACTION",
        help="keep, drop or fail, for a reason of `fdrd build --reasons`; repeatable.",
    ),
]
Decisions = Annotated[
    Path | None,
    _records(
        metavar="FILE", help="Apply reviewers' decisions: the file that `fdrd view --review` wrote."
    ),
]
Only = Annotated[
    Path | None,
    _rare(
        metavar="FILE",
        help="Keep only the records whose ids it lists, e.g. exported by `fdrd view`.",
    ),
]
