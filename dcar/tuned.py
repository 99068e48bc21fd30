"""`dcar_plus` beside towers that train: the maps read frozen layers, and the trained towers score what the maps miss.

The maps of several frozen layers (`dcar.plus`) and a fine-tuned copy of both towers, or prompts in both frozen towers,
train one after the other on the same pairs, each with its own contrastive loss. The score is the weighted mean of both
cosines. The contrastive loss on validation chooses the weight, and 0 is among the choices. `dcar/README.md` has what
led here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from benchmark import (
    AnyImages,
    Backbone,
    CoupledPrompts,
    Features,
    FineTuned,
    FitLog,
    TrainConfig,
    TrainContext,
    learn,
    method,
)
from benchmark.evaluation.encoding import encode_split
from benchmark.models.backbone import PROMPTS, WEIGHTS
from benchmark.registry import QUIET, Needs
from benchmark.training.learners import PromptMethod, at_most
from benchmark.training.loop import repeats_of
from benchmark.training.row_selection import thinned
from benchmark.training.trained_method import TrainedMethod, cosine, side_by_side, towers_of
from dcar.method import MAPLE_DEPTH
from dcar.plus import CHOOSING_ROWS, DCARPlus, DCARPlusConfig, validation_loss
from dcar.plus import TRAIN as TRAIN_MAPS
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError

N_CTX = 4
"""Context tokens, and visual tokens, per layer, as in `dcar`."""

TOWER_WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Weights of the trained towers to choose from; that of `dcar_plus` is 1."""


class Learner(nn.Module):
    """What both parts train, and the weight of the towers in the score."""

    weight: Tensor

    def __init__(self, maps: nn.Module, towers: nn.Module):
        super().__init__()
        self.maps = maps
        self.towers = towers
        self.register_buffer("weight", torch.tensor(1.0))


class DCARTuned:
    """Maps of frozen layers and trained towers, scored by the weighted mean of their cosines.

    Args:
        maps: method that reads frozen layers.
        towers: method that trains the towers, or prompts in them.

    Attributes:
        backbone: the backbone of the towers, a copy if they train.
    """

    def __init__(self, maps: DCARPlus, towers: TrainedMethod):
        self.maps = maps
        self.towers = towers
        self.backbone = towers.backbone
        self.trains: Literal["prompts", "backbone"] = towers.trains
        self.learner = Learner(maps.learner, towers.learner).to(maps.backbone.device)
        self.similarity = cosine

    def fit(
        self,
        train: RetrievalDataset,
        validation: RetrievalDataset,
        context: TrainContext = QUIET,
    ) -> FitLog:
        """Train the maps, then the towers, and choose the weight of the towers."""

        def report(stage: str, done: int, total: int) -> None:
            context.progress(f"maps: {stage}", done, total)

        # Only the training of the towers is resumable.
        log = self.maps.fit(train, validation, replace(context, progress=report, saved=None))
        log = learn(self.towers, train, validation, context, earlier=log)
        self._choose(thinned(validation, CHOOSING_ROWS), context)
        return log

    @torch.no_grad()
    def _choose(self, validation: RetrievalDataset, context: TrainContext) -> None:
        """Choose the weight by the contrastive loss on validation, as `dcar.plus` chooses maps."""
        image, caption = torch.from_numpy(validation.pairs).T
        repeats, scores = repeats_of(*validation.pairs.T), []
        for part in (self.maps, self.towers):
            images, texts = encode_split(part, validation, context.progress)
            scores.append(part.similarity(images, texts).float()[image][:, caption])

        def loss(weight: float) -> float:
            return validation_loss((scores[0] + weight * scores[1]) / (1 + weight), repeats)

        self.learner.weight.fill_(min(TOWER_WEIGHTS, key=loss))

    def encode_image(self, images: AnyImages) -> Features:
        """Return features of B images."""
        return self._joined(self.maps.encode_image(images), self.towers.encode_image(images))

    def encode_text(self, captions: Sequence[str]) -> Features:
        """Return features of B captions."""
        return self._joined(self.maps.encode_text(captions), self.towers.encode_text(captions))

    def _joined(self, mapped: Features, tuned: Features) -> Features:
        weight = float(self.learner.weight)
        if not 0 <= weight < math.inf:  # in a checkpoint of a stranger
            raise FdrdError(f"the weight of the towers is {weight:g}; train dcar_tuned again")
        return Features(side_by_side(mapped.pooled, tuned.pooled, weight))


@method(
    "dcar_tuned",
    needs=Needs(frozenset({PROMPTS, WEIGHTS})),
    trains="linear maps, and both towers or prompts",
)
def dcar_tuned(
    backbone: Backbone,
    *,
    prompts: bool = False,
    train: TrainConfig = TrainConfig(optimizer="adamw", learning_rate=1e-5),
    seed: int = 0,
) -> DCARTuned:
    """Train the maps of dcar_plus, and a copy of both towers beside them; beyond arXiv 2508.04028.

    Args:
        backbone: stays frozen; a copy of its towers trains, unless prompts do.
        prompts: whether prompts in both frozen towers train instead of a copy of the towers.
        train: training settings of the towers or prompts; the maps have those of `dcar_plus`.
        seed: seed of the initial values, the order of the rows, and the negatives.
    """
    towers: TrainedMethod
    if prompts:
        depth = at_most(backbone, MAPLE_DEPTH)
        learner = CoupledPrompts(backbone, N_CTX, "", depth, "linear", seed)
        towers = PromptMethod(backbone, learner, train, seed)
    else:
        copied = backbone.trainable_copy()
        towers = FineTuned(copied, towers_of(copied), train, seed)
    return DCARTuned(DCARPlus(backbone, DCARPlusConfig(), TRAIN_MAPS, seed), towers)
