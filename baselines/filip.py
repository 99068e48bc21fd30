"""FILIP (arXiv 2111.07783): late interaction between the patches of an image and the tokens of a caption.

Every token of one side is compared with all tokens of the other and keeps its best; the mean over the
tokens is the similarity. Here it is a trained head on a frozen backbone: token features of both towers go
through a residual map each, shared by all tokens of a tower and the identity at the start, and these two
maps are all that learns. FILIP the pre-trained model is a backbone instead, scored by `zero_shot`.

Differs from the paper: nothing of the towers is trained; both ways of looking, from patches to tokens and
from tokens to patches, are averaged into one score for both directions of retrieval, where the paper has
one for each; the pooled feature takes part as one more token of its side; all tokens are compared,
where the paper drops three quarters of them to save memory; the scale is the backbone's and is not learned;
no prompt templates, no augmentation.

Token features are not cached (they would be fifty times the pooled ones), so a step costs a forward pass
of both towers, though no backward one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from benchmark import (
    Adapter,
    AnyImages,
    Backbone,
    Batch,
    Features,
    FitLog,
    LossDirection,
    Progress,
    TrainConfig,
    learn,
    method,
    pair_loss,
    silent,
)
from fdrd.dataset import RetrievalDataset

BLOCK = 2**23
"""Similarities of single tokens that exist at a time: 32 MB, whatever the gallery."""


class FILIP:
    """A frozen backbone with a map behind the tokens of each tower, scored token by token.

    Args:
        backbone: stays as it is.
        maps: by side, `image` and `text`.
        train: how.
        seed: decides the order of the rows.
        loss: of the (B, B) logits.
    """

    trains: Literal["prompts"] = "prompts"

    def __init__(
        self,
        backbone: Backbone,
        maps: dict[str, Adapter],
        train: TrainConfig,
        seed: int = 0,
        loss: LossDirection = "symmetric",
    ):
        self.backbone = backbone
        self.learner = nn.ModuleDict(maps).to(backbone.device)
        self.config = train
        self.seed = seed
        self.direction: LossDirection = loss

    def fit(
        self, train: RetrievalDataset, validation: RetrievalDataset, progress: Progress = silent
    ) -> FitLog:
        """Learn the maps."""
        device = self.backbone.device
        return learn(self, self.loss, train, validation, self.config, self.seed, device, progress)

    def loss(self, batch: Batch) -> Tensor:
        """InfoNCE of a batch at the backbone's own scale."""
        return pair_loss(self, batch, self.backbone.logit_scale, self.direction)

    def encode_image(self, images: AnyImages) -> Features:
        """Features of B images: pooled, and of 1 + P tokens, the first of which is the pooled one."""
        with torch.no_grad():
            seen = self.backbone.encode_image(images, tokens=True)
        assert seen.tokens is not None
        tokens = self.learner["image"](_with_pooled(seen.pooled, seen.tokens))
        return Features(tokens[:, 0], tokens)

    def encode_text(self, captions: Sequence[str]) -> Features:
        """Features of B captions: pooled, and of 1 + T tokens; zero where a token is not `valid`."""
        with torch.no_grad():
            read = self.backbone.encode_text(captions, tokens=True)
        assert read.tokens is not None
        assert read.valid is not None
        tokens = self.learner["text"](_with_pooled(read.pooled, read.tokens))
        valid = torch.cat([torch.ones_like(read.valid[:, :1]), read.valid], dim=1)
        return Features(tokens[:, 0], tokens * valid[..., None], valid)

    def similarity(self, images: Features, texts: Features) -> Tensor:
        """(I, C) mean of both ways of looking."""
        assert images.tokens is not None
        assert texts.tokens is not None
        assert texts.valid is not None
        return late_interaction(images.tokens, texts.tokens, texts.valid)


def late_interaction(
    patches: Tensor, words: Tensor, valid: Tensor, *, block: int = BLOCK
) -> Tensor:
    """(I, C) token-wise maximum similarity, the mean of both ways of looking.

    Args:
        patches: (I, P, d) unit features of the images' tokens.
        words: (C, T, d) unit features of the captions' tokens.
        valid: (C, T) which of them count; at least one of each caption.
        block: similarities of single tokens to hold at a time; no more than one pair's if that is more.

    >>> patches = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    >>> words = torch.tensor([[[0.6, 0.8], [1.0, 0.0]]])
    >>> both, first = torch.tensor([[True, True]]), torch.tensor([[True, False]])
    >>> float(late_interaction(patches, words, both))  # ((1 + .8) / 2 + (.8 + 1) / 2) / 2
    0.8999999761581421
    >>> float(late_interaction(patches, words, first))  # ((.6 + .8) / 2 + .8) / 2
    0.75
    """
    n_images, n_captions = len(patches), len(words)
    of_pair = patches.shape[1] * words.shape[1]
    captions = min(n_captions, max(1, block // of_pair))
    images = min(n_images, max(1, block // (of_pair * captions)))
    return torch.cat(
        [
            torch.cat(
                [
                    _late_interaction(
                        patches[i : i + images], words[c : c + captions], valid[c : c + captions]
                    )
                    for c in range(0, n_captions, captions)
                ],
                dim=1,
            )
            for i in range(0, n_images, images)
        ]
    )


def _late_interaction(patches: Tensor, words: Tensor, valid: Tensor) -> Tensor:
    every = torch.einsum("ipd,ctd->ipct", patches, words)
    # `max` and not `amax`: for its gradient it keeps where the best are, and not all that it looked at.
    of_word = every.max(dim=1).values  # (I, C, T)
    of_patch = every.masked_fill(~valid, -torch.inf).max(dim=3).values  # (I, P, C)
    counts = valid.sum(dim=1)
    return (of_patch.mean(dim=1) + (of_word * valid).sum(dim=2) / counts) / 2


def _with_pooled(pooled: Tensor, tokens: Tensor) -> Tensor:
    return torch.cat([pooled[:, None], tokens], dim=1)


@method("filip")
def filip(
    backbone: Backbone,
    *,
    form: Literal["linear", "residual"] = "linear",
    reduction: int = 4,
    loss: LossDirection = "symmetric",
    train: TrainConfig = TrainConfig(optimiser="adamw", learning_rate=1e-3, batch_size=64),
    seed: int = 0,
) -> FILIP:
    """Late interaction of frozen patches and caption tokens, through a learned map (arXiv 2111.07783).

    Args:
        backbone: stays frozen.
        form: the map of each tower's tokens: linear, or a residual bottleneck.
        reduction: the width of the joint space is divided by it within the bottleneck.
        loss: symmetric, or one direction alone.
        train: the training.
        seed: of the initial weights and the order of the rows.
    """
    maps = {
        side: Adapter(backbone.dim, form, reduction, 1.0, seed + number)
        for number, side in enumerate(("image", "text"))
    }
    return FILIP(backbone, maps, train, seed, loss)
