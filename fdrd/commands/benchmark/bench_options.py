"""The options of `fdrd bench`, by panel of its help. Less used ones are named there, and described on the page."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from fdrd.commands.help import RARE
from fdrd.options import MOST_SEED, MOST_SEEDS

_methods = partial(typer.Option, rich_help_panel="Methods")
_rows = partial(typer.Option, rich_help_panel="Data")
_training = partial(typer.Option, rich_help_panel="Training")
_rare = partial(typer.Option, rich_help_panel=RARE)

DatasetAndMethods = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DATASET|METHOD",
        help="Folder, registered name or Hub id of a dataset (default: data/fdrd, else the only dataset in data), and "
        "names from `fdrd methods`.",
    ),
]
Methods = Annotated[
    list[str] | None,
    _methods("--method", "-m", metavar="NAME", help="The same as METHOD; repeatable."),
]
Everything = Annotated[bool, _methods("--all", help="Run every method.")]
Ablate = Annotated[
    str | None,
    _rare(metavar="NAME", help="Run every variant of this method, with and without each part."),
]
Checkpoint = Annotated[
    str | None,
    _methods(
        metavar="FILE",
        help="Use this checkpoint instead of training: a .safetensors file that a bench wrote, or a "
        "Hub model as ORG/NAME or ORG/NAME@REVISION. It names its method and backbone.",
    ),
]
MethodOptions = Annotated[
    list[str] | None,
    _methods(
        "--method-option",
        "-M",
        metavar="NAME=VALUE",
        help="Option of every method that has it, or of one with METHOD.NAME=VALUE; repeatable.",
    ),
]

Data = Annotated[str | None, _rows(hidden=True)]
Split = Annotated[str, _rows(help="Split to measure: test, validation or train.")]
Domain = Annotated[str | None, _rows(help="Use only this domain, also for training.")]
TrainDomain = Annotated[
    str | None,
    _rare(
        metavar="DOMAIN",
        help="Train on this domain instead, or on all (joint training). With --domain: measure transfer.",
    ),
]
Categories = Annotated[
    Path | None,
    _rare(
        metavar="FILE",
        help="Base-to-new: a text file with one category per line. Train on these only; measure "
        "them (base) and all others (new), each with its own gallery.",
    ),
]
Preset = Annotated[
    Literal["paper"] | None,
    _rows(
        metavar="NAME",
        help="paper: the protocol of DCAR. One model per domain learns from train and validation rows, its last step "
        "is measured on the whole test split, and published numbers are printed beside.",
    ),
]
Shots = Annotated[int | None, _rows(metavar="N", min=1, help="Images per category to train on.")]
Limit = Annotated[
    int | None,
    _rows(metavar="N", min=2, help="Use only this many images of each split, for a quick trial."),
]
GalleryOption = Annotated[
    str, _rows("--gallery", help="domain, joint, or a number of images per gallery.")
]
HardNegatives = Annotated[
    bool,
    _rare(
        "--hard-negatives/--no-hard-negatives",
        help="Measure hard-negative accuracy, which has several times as many captions to encode.",
    ),
]

Epochs = Annotated[str | None, typer.Option(metavar="N", hidden=True)]
LearningRate = Annotated[str | None, typer.Option("--lr", metavar="RATE", hidden=True)]
BatchSize = Annotated[str | None, typer.Option(metavar="N", hidden=True)]
Seed = Annotated[
    int,
    _rare(metavar="N", min=0, max=MOST_SEED, help="Seed of training and of the few-shot draw."),
]
Seeds = Annotated[
    int,
    _training(metavar="N", min=1, max=MOST_SEEDS, help="Number of seeds to run."),
]
TrainOptions = Annotated[
    list[str] | None,
    _training(
        "--train-option",
        "-T",
        metavar="NAME=VALUE",
        help="Option of the training, e.g. epochs=5, learning_rate=0.002, batch_size=64 or "
        "optimizer=adamw; `fdrd methods training` lists them; repeatable.",
    ),
]
Track = Annotated[
    str | None,
    _rare(
        metavar="FOLDER",
        help="Write curves of each training to this folder, for TensorBoard.",
    ),
]

Results = Annotated[
    Path, typer.Option("--results", "-o", metavar="FOLDER", help="Folder of result files.")
]
