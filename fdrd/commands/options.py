"""Arguments and options that several commands share, each declared once.

A registered name stands for the folder of its build wherever a command takes a folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fdrd.errors import FdrdError


def dataset_folder(given: Path | None) -> Path | None:
    """Return the folder of a build that is named by folder or by registered name."""
    if given is None or given.exists():
        return given
    from fdrd.storage.registration import registered_folder

    return registered_folder(str(given)) or given


def one_of(argument: Path | str | None, option: Path | str | None, remedy: str) -> str:
    """Return the value that was given as an argument or as an option.

    Raises:
        FdrdError: none or both were given.
    """
    if (argument is None) == (option is None):
        raise FdrdError(remedy)
    return str(option if argument is None else argument)


def load_plugins(plugins: Sequence[str] | None) -> None:
    """Import the modules of `--plugin`, which register methods."""
    from benchmark.registry import load_plugin

    for module in plugins or ():
        load_plugin(module)


_FOLDER = typer.Argument(
    help="Folder or registered name of a built dataset.", callback=dataset_folder
)
Folder = Annotated[Path, _FOLDER]
OptionalFolder = Annotated[Path | None, _FOLDER]
Data = Annotated[str, typer.Argument(help="Folder, registered name or Hub id of a dataset.")]

Target = Annotated[Path | None, typer.Argument(help="New or empty folder to write to.")]
SameTarget = Annotated[
    Path | None, typer.Option("--out", "-o", help="Same as the argument FOLDER.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Folder of the dataset; default: data/fdrd, or data/NAME-OF-SOURCE if another source has it.",
    ),
]
Replace = Annotated[
    bool, typer.Option("--replace", help="Replace a dataset of another source in --out.")
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Number of processes; default: one per core.")
]
Engine = Annotated[str, typer.Option(help="Where processes run: local, or ray for a Ray cluster.")]
Backbone = Annotated[
    str | None,
    typer.Option(
        help="`embedded`, a folder, a Hub id or file.py:function; `fdrd backbones` lists all forms. "
        "Default: the one that the dataset or the checkpoint names, else CLIP ViT-B/32."
    ),
]
Device = Annotated[
    str | None, typer.Option(help="Torch device, e.g. cpu, cuda:1 or mps; default: cuda, else cpu.")
]
Plugins = Annotated[
    list[str] | None,
    typer.Option(help="Module or .py file with your own methods or captioners; repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
