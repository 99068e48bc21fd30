"""Protocols by name. `paper` is that of DCAR (arXiv 2508.04028), as far as its results page describes it.

One model per domain learns from the train and validation splits, and its last step is measured on the whole test
split. Equal captions of a batch are not masked, and baselines have the one-directional loss of their own papers.
Numbers of steps and learning rates are not published; they are options.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from benchmark.experiments.plan import Experiment, MethodRow, Options, Protocols
from benchmark.models.loading import DEFAULT_BACKBONE
from benchmark.registry import method_options, takes
from benchmark.runner import Run
from benchmark.training.row_selection import Data, split_of
from fdrd.dataset import RetrievalDataset

TAG: Literal["paper"] = "paper"

REMARK = (
    "the paper's protocol: trained on train and validation, the last step kept, equal captions not masked, "
    "image-to-text loss of baselines"
)

IMAGE_TO_TEXT = ("coop", "cocoop", "maple", "clip_adapter")
"""Methods of the paper's table whose own code has a loss from images to texts only."""

TRAIN: Options = {"keep_untrained": False, "mask_equal": False, "eval_every": 1_000_000}
"""One evaluation, so the last step is kept."""


def paper_run(run: Run) -> Run:
    """Return a run with the options of the paper's protocol; its own options win."""
    if run.method in IMAGE_TO_TEXT and "loss" in method_options(run.method):
        run = run.changed(options={"loss": "image_to_text", **run.options})
    return run.changed(train={**TRAIN, **run.train}) if takes(run.method, "train") else run


def paper_data(data: Data) -> dict[str, RetrievalDataset]:
    """Return the splits, with the validation rows among the training rows."""
    splits = {name: split_of(data, name, None) for name in ("train", "validation", "test")}
    return {**splits, "train": splits["train"].joined(splits["validation"])}


def paper_experiment(
    data: str,
    rows: Sequence[str | MethodRow],
    *,
    backbone: str | None = None,
    domain: str | None = None,
    seeds: Sequence[int],
    train: Options | None = None,
    results: str,
) -> Experiment:
    """Return the experiment of `fdrd bench --preset paper`; by default of every domain, with CLIP ViT-B/32."""
    return Experiment(
        data=data,
        methods=[*rows],
        backbones=[backbone or DEFAULT_BACKBONE],
        protocols=[Protocols(preset=TAG, domain=domain or "each")],
        seeds=[*seeds],
        train=train or {},
        results=results,
    )
