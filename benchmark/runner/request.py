"""What a user asks of a run, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from benchmark.evaluation.base_to_new import CategoryList
from benchmark.models.backbone import Backbone
from benchmark.settings import Gallery, Half, check_seed
from benchmark.train_context import Observer
from benchmark.training.row_selection import Data
from fdrd.progress import Progress, silent


@dataclass(frozen=True)
class RunRequest:
    """What `run` takes; `fdrd bench` has one option for each.

    Attributes:
        method: registered name.
        data: folder, registered name or Hub id; or the splits themselves.
        split: the split to measure.
        backbone: a name for `load_backbone`, or a backbone; by default the one that the checkpoint or the
            dataset's manifest names. A method without backbone ignores the name.
        domain: use only the rows of this domain, also for training.
        train_domain: train on this domain instead, or on `all`.
        categories: train on these categories only.
        half: with `categories`, measure those (`base`) or all others (`new`).
        shots: images per category to train on; validation then has at most 4 per category, as in CoOp.
        seed: of training and of the few-shot draw. Methods without randomness give one result for all seeds.
        gallery: one per domain, one for all domains, or a number of images.
        hard_negatives: measure the accuracy on hard negatives. This encodes each of them, several times as many
            captions as the ranking does, and trains a text-only baseline.
        options: of the method, as values or as text.
        train: fields of `TrainConfig`, as values or as text; ignored if nothing is trained.
        checkpoint: a file or a Hub model to use instead of training.
        results: folder of result files. A finished run is read from there instead of repeated, learned
            tensors are saved next to the result, and an interrupted training resumes.
        log: folder of TensorBoard for the curves of each training.
        cache: folder of frozen features, else `default_cache()`; ignored if `backbone` is not a name.
        device: `cpu` or `cuda`; ignored if `backbone` is not a name.
        allow_code: the user typed `backbone`, so it may name a function.
        progress: receives each stage.
        observers: receive the points of the training's curves, besides `log`; one may raise to stop the training.
    """

    method: str
    data: Data
    _: KW_ONLY
    split: str = "test"
    backbone: str | Backbone | None = None
    domain: str | None = None
    train_domain: str | None = None
    categories: CategoryList | None = None
    half: Half = "base"
    shots: int | None = None
    seed: int = 0
    gallery: Gallery = "domain"
    hard_negatives: bool = True
    options: Mapping[str, Any] | None = None
    train: Mapping[str, Any] | None = None
    checkpoint: str | Path | None = None
    results: str | Path | None = None
    log: str | Path | None = None
    cache: Path | None = None
    device: str | None = None
    allow_code: bool = False
    progress: Progress = silent
    observers: tuple[Observer, ...] = ()

    def __post_init__(self) -> None:
        check_seed(self.seed)
