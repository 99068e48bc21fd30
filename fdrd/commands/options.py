"""Arguments and options that several commands share, each declared once.

A dataset is DATASET and a source SOURCE everywhere; `-o` is the output of the command. The second name of an argument,
e.g. `--data`, is hidden. A registered name stands for the folder of its build wherever a command takes a folder. Their
help, unless a command documents them:

Args:
    dataset: Folder or registered name of a dataset. Default: data/fdrd, else the only dataset in data.
    folder: New or empty folder to write to.
    workers: Number of processes; default: one per core.
    backbone: `embedded`, a folder, a Hub id or file.py:function; `fdrd backbones` lists all forms. Default: the one
        that the dataset or the checkpoint names, else CLIP ViT-B/32.
    device: Torch device, e.g. cpu, cuda:1 or mps; default: cuda, else cpu.
    plugin: Module or .py file with your own methods or captioners; repeatable.
    track: Write curves of each training to this folder, for TensorBoard.
    json: Print JSON for machines.
    quiet: Print results and errors only.
    verbose: Print the log of every library, and tracebacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fdrd.commands.console import err
from fdrd.errors import FdrdError

RARE = "Less used"  # panel of options that `--help` names without describing them


def dataset_folder(named: Path | None) -> Path | None:
    """Return the folder of a dataset that is named by folder or by registered name."""
    if named is None or named.exists():
        return named
    from fdrd.storage.registration import registered_folder

    return registered_folder(str(named)) or named


def default_dataset() -> Path:
    """Return the dataset of a command that names none, and say which: data/fdrd, else the only one in data.

    Raises:
        FdrdError: there is none, or there are several.
    """
    found = sorted(manifest.parent for manifest in Path("data").glob("*/manifest.json"))
    preferred = [folder for folder in found if folder.name == "fdrd"] or found
    if not preferred:
        raise FdrdError("no dataset in data/; run `fdrd build SOURCE`, or name a dataset")
    if len(preferred) > 1:
        names = ", ".join(map(str, preferred))
        raise FdrdError(f"data/ holds several datasets; name one: {names}")
    err.print(f"Dataset: {preferred[0]}", soft_wrap=True)
    return preferred[0]


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


Dataset = Annotated[str, typer.Argument(metavar="DATASET")]
OptionalFolder = Annotated[Path | None, typer.Argument(metavar="DATASET", callback=dataset_folder)]
Target = Annotated[Path | None, typer.Argument(metavar="FOLDER")]
SameTarget = Annotated[Path | None, typer.Option("--out", "-o", hidden=True)]
Count = Annotated[int, typer.Option(metavar="N", min=1)]
Workers = Annotated[int | None, typer.Option(metavar="N", min=1)]
Backbone = Annotated[str | None, typer.Option(metavar="NAME")]
Device = str | None
Texts = list[str] | None
Plugins = Annotated[Texts, typer.Option(metavar="MODULE")]
Track = Annotated[str | None, typer.Option(metavar="FOLDER", rich_help_panel=RARE)]
Json = Annotated[bool, typer.Option("--json", rich_help_panel="General")]
