"""The options of `fdrd bench`, by panel of its help."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from fdrd.options import MOST_SEED, MOST_SEEDS

_what = partial(typer.Option, rich_help_panel="Methods")
_rows = partial(typer.Option, rich_help_panel="Data")
_training = partial(typer.Option, rich_help_panel="Training")
_files = partial(typer.Option, rich_help_panel="Results")

Dataset = Annotated[
    str | None,
    typer.Argument(
        metavar="DATASET",
        help="Folder, registered name or Hub id. Default: the last build from this folder.",
    ),
]
Methods = Annotated[
    list[str] | None, _what("--method", "-m", help="Name from `fdrd methods`; repeatable.")
]
Everything = Annotated[bool, _what("--all", help="Run every method.")]
Ablate = Annotated[
    str | None, _what(help="Run every variant of this method, with and without each part.")
]
Checkpoint = Annotated[
    str | None,
    _what(
        help="Use this checkpoint instead of training: a .safetensors file that a bench wrote, or a "
        "Hub model as ORG/NAME or ORG/NAME@REVISION. It names its method and backbone."
    ),
]
MethodOptions = Annotated[
    list[str] | None,
    _what(
        "--method-option",
        "-M",
        metavar="NAME=VALUE",
        help="Option of every method that has it, or of one with METHOD.NAME=VALUE; repeatable.",
    ),
]

Data = Annotated[str | None, _rows(help="Same as the argument.")]
Split = Annotated[str, _rows(help="Split to measure: test, validation or train.")]
Domain = Annotated[str | None, _rows(help="Use only this domain, also for training.")]
TrainDomain = Annotated[
    str | None, _rows(help="Train on this domain instead, or on all (joint training).")
]
Categories = Annotated[
    Path | None,
    _rows(
        help="Base-to-new: a text file with one category per line. Train on these only; measure "
        "them (base) and all others (new), each with its own gallery."
    ),
]
Preset = Annotated[
    Literal["paper"] | None,
    _rows(
        help="paper: one model per domain from train and validation rows, the last step measured on the whole "
        "test split, CLIP ViT-B/32 unless --backbone is given (see `fdrd reproduce`)."
    ),
]
Shots = Annotated[int | None, _rows(min=1, help="Images per category to train on.")]
Limit = Annotated[
    int | None,
    _rows(min=2, help="Use only this many images of each split, for a quick trial."),
]
GalleryOption = Annotated[
    str, _rows("--gallery", help="domain, joint, or a number of images per gallery.")
]
HardNegatives = Annotated[
    bool,
    _rows(
        "--hard-negatives/--no-hard-negatives",
        help="Measure hard-negative accuracy, which has several times as many captions to encode.",
    ),
]

Epochs = Annotated[str | None, _training(metavar="N", help="Short for -T epochs=N.")]
LearningRate = Annotated[
    str | None, _training("--lr", metavar="RATE", help="Short for -T learning_rate=RATE.")
]
BatchSize = Annotated[str | None, _training(metavar="N", help="Short for -T batch_size=N.")]
Seed = Annotated[
    int, _training(min=0, max=MOST_SEED, help="Seed of training and of the few-shot draw.")
]
Seeds = Annotated[
    int, _training(min=1, max=MOST_SEEDS, help="Number of seeds to run, starting at --seed.")
]
TrainOptions = Annotated[
    list[str] | None,
    _training(
        "--train-option",
        "-T",
        metavar="NAME=VALUE",
        help="Option of the training, e.g. optimizer=adamw; `fdrd methods` lists them; repeatable.",
    ),
]
Log = Annotated[
    str | None,
    _training(
        "--track",
        "--log",
        help="Write curves of each training to this folder, for TensorBoard.",
    ),
]

Results = Annotated[Path, _files("--results", "-o", help="Folder of result files.")]
