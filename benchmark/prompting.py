"""Methods of which only the prompts are new: write a module whose `forward()` returns `Prompts`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from benchmark.backbone import Backbone, Features, Prompts
from benchmark.encoding import encode_split, rank_split
from benchmark.images import AnyImages
from benchmark.losses import LossDirection, info_nce
from benchmark.metrics import mean_mrr
from benchmark.training import Batch, FitLog, TrainConfig, fit
from fdrd.dataset import RetrievalDataset
from fdrd.error import FdrdError
from fdrd.progress import Progress, silent


class PromptMethod:
    """A frozen backbone with learned prompts, scored by cosine.

    Args:
        backbone: stays as it is.
        learner: `learner()` gives the `Prompts`; its parameters are all that is learned.
        train: how.
        seed: decides the order of the rows.
        loss: of the (B, B) logits; symmetric for all methods unless a user asks otherwise.
    """

    trains: Literal["prompts"] = "prompts"

    def __init__(
        self,
        backbone: Backbone,
        learner: nn.Module,
        train: TrainConfig,
        seed: int = 0,
        loss: LossDirection = "symmetric",
    ):
        self.backbone = backbone
        self.learner = learner.to(backbone.device)
        self.config = train
        self.seed = seed
        self.direction: LossDirection = loss

    def fit(
        self, train: RetrievalDataset, validation: RetrievalDataset, progress: Progress = silent
    ) -> FitLog:
        """Learn the prompts."""

        def validate() -> float:
            return mean_mrr(rank_split(self, *encode_split(self, validation), validation))

        return fit(
            self.learner,
            self.loss,
            validate,
            train,
            self.config,
            self.seed,
            device=self.backbone.device,
            progress=progress,
        )

    def loss(self, batch: Batch) -> Tensor:
        """InfoNCE of a batch at the backbone's own scale."""
        images, texts = self.encode_image(batch.images), self.encode_text(batch.captions)
        logits = self.backbone.logit_scale * self.similarity(images, texts)
        return info_nce(logits.float(), self.direction)

    def encode_image(self, images: AnyImages) -> Features:
        """Features of B images under the current prompts."""
        return self.backbone.encode_image(images, self.learner())

    def encode_text(self, captions: Sequence[str]) -> Features:
        """Features of B captions under the current prompts."""
        return self.backbone.encode_text(captions, self.learner())

    def similarity(self, images: Features, texts: Features) -> Tensor:
        """(I, C) cosines."""
        return images.pooled @ texts.pooled.T


class ContextVectors(nn.Module):
    """Learned context in front of every caption, fresh at each of the first `depth` text layers.

    Args:
        backbone: gives the width, and the embeddings of words.
        n_ctx: context vectors per layer.
        words: what the first vectors of the first layer start from; the others from N(0, 0.02^2).
        depth: text layers that get context; 0 is the plain tower.
        seed: of the drawn values.

    Raises:
        FdrdError: the words need more vectors, or the tower has fewer layers.
    """

    def __init__(self, backbone: Backbone, n_ctx: int, words: str, depth: int, seed: int):
        super().__init__()
        check_size("n_ctx", n_ctx, "depth", depth, backbone.text_layers)
        self.text = drawn_prompts(n_ctx, backbone.text_width, depth, seed)
        if words and depth:
            spelled = backbone.word_embeddings(words).cpu()
            if len(spelled) > n_ctx:
                raise FdrdError(f"{words!r} has {len(spelled)} tokens; n_ctx={n_ctx} is too few")
            with torch.no_grad():
                self.text[0][: len(spelled)] = spelled

    def forward(self) -> Prompts:
        """`depth` prompts of (n_ctx, text_width)."""
        return Prompts(text=list(self.text))


def drawn_prompts(n: int, width: int, depth: int, seed: int) -> nn.ParameterList:
    """`depth` parameters (n, width) from N(0, 0.02^2)."""
    generator = torch.Generator().manual_seed(seed)
    return nn.ParameterList(
        nn.Parameter(0.02 * torch.randn(n, width, generator=generator)) for _ in range(depth)
    )


def check_size(count: str, n: int, deep: str, depth: int, layers: int) -> None:
    """Refuse prompts that a tower has no room for.

    Raises:
        FdrdError: fewer than one token per layer, or more layers than the tower has.
    """
    if n < 1:
        raise FdrdError(f"{count}={n}: must be at least 1")
    if not 0 <= depth <= layers:
        raise FdrdError(f"{deep}={depth}: the tower has {layers} layers; choose 0 to {layers}")
