"""FILIP (arXiv 2111.07783): late interaction between image patches and caption tokens.

Every token of one side is compared with all tokens of the other and keeps its best match. The mean over the
tokens is the similarity. Here this is a trained head on a frozen backbone: token features of each tower pass
through one residual map, which starts as the identity. The maps are all that is trained. The pre-trained FILIP
model would be a backbone for `zero_shot`.

Differs from the paper: the towers are frozen. Patch-to-token and token-to-patch scores are averaged into one
score for both directions, where the paper has one for each. The pooled feature counts as one more token. All
tokens are compared, where the paper drops three quarters to save memory. The scale is the backbone's. No prompt
templates, no augmentation.

Token features are not cached (they are fifty times larger than pooled ones), so a step costs a forward pass of
both towers, but no backward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from benchmark import Adapter, AnyImages, Encoder, Features, PairLoss, TrainConfig, method
from benchmark.models.backbone import TOKENS
from benchmark.training.trained_method import TrainedMethod

BLOCK = 2**23
"""Token similarities held in memory at a time: 32 MB for any gallery size."""


def late_interaction(
    patches: Tensor, words: Tensor, valid: Tensor, *, block: int = BLOCK
) -> Tensor:
    """Return (I, C) token-wise maximum similarity, averaged over both directions.

    Args:
        patches: (I, P, d) unit features of the images' tokens.
        words: (C, T, d) unit features of the captions' tokens.
        valid: (C, T) which of them count; at least one per caption.
        block: token similarities to hold at a time, or those of one pair if that is more.

    >>> patches = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    >>> words = torch.tensor([[[0.6, 0.8], [1.0, 0.0]]])
    >>> both, first = torch.tensor([[True, True]]), torch.tensor([[True, False]])
    >>> float(late_interaction(patches, words, both))  # ((1 + .8) / 2 + (.8 + 1) / 2) / 2
    0.8999999761581421
    >>> float(late_interaction(patches, words, first))  # ((.6 + .8) / 2 + .8) / 2
    0.75
    """
    per_pair = patches.shape[1] * words.shape[1]
    captions = min(len(words), max(1, block // per_pair))
    images = min(len(patches), max(1, block // (per_pair * captions)))
    texts = [slice(start, start + captions) for start in range(0, len(words), captions)]
    rows = [
        torch.cat([_late_interaction(some, words[part], valid[part]) for part in texts], dim=1)
        for some in (patches[start : start + images] for start in range(0, len(patches), images))
    ]
    return torch.cat(rows)


def _late_interaction(patches: Tensor, words: Tensor, valid: Tensor) -> Tensor:
    every = torch.einsum("ipd,ctd->ipct", patches, words)
    # `max` instead of `amax`: its gradient needs the position of the best only, not all similarities.
    of_word = every.max(dim=1).values  # (I, C, T)
    of_patch = every.masked_fill(~valid, -torch.inf).max(dim=3).values  # (I, P, C)
    counts = valid.sum(dim=1)
    return (of_patch.mean(dim=1) + (of_word * valid).sum(dim=2) / counts) / 2


def token_similarity(images: Features, texts: Features) -> Tensor:
    """Return (I, C) late-interaction scores."""
    assert images.tokens is not None
    assert texts.tokens is not None
    assert texts.valid is not None
    return late_interaction(images.tokens, texts.tokens, texts.valid)


@method("filip", needs=TOKENS, trains="a late-interaction head")
def filip(
    backbone: Encoder,
    *,
    form: Literal["linear", "residual"] = "linear",
    reduction: int = 4,
    loss: PairLoss = "symmetric",
    train: TrainConfig = TrainConfig(optimizer="adamw", learning_rate=1e-3, batch_size=64),
    seed: int = 0,
) -> TrainedMethod:
    """Train a map for late interaction of frozen patches and caption tokens (arXiv 2111.07783).

    Args:
        form: the map of each tower's tokens: linear, or a residual bottleneck.
        reduction: the bottleneck is this many times narrower than the joint space.
    """
    maps = nn.ModuleDict(
        {
            side: Adapter(backbone.dim, form, reduction, 1.0, seed + index)
            for index, side in enumerate(("image", "text"))
        }
    )

    def encode_image(images: AnyImages) -> Features:
        """Return features of B images: pooled, and of 1 + P tokens, the pooled one first."""
        with torch.no_grad():
            found = backbone.encode_image(images, tokens=True)
        assert found.tokens is not None
        tokens = maps["image"](torch.cat([found.pooled[:, None], found.tokens], dim=1))
        return Features(tokens[:, 0], tokens)

    def encode_text(captions: Sequence[str]) -> Features:
        """Return features of B captions: pooled, and of 1 + T tokens; zero where not `valid`."""
        with torch.no_grad():
            found = backbone.encode_text(captions, tokens=True)
        assert found.tokens is not None
        assert found.valid is not None
        tokens = maps["text"](torch.cat([found.pooled[:, None], found.tokens], dim=1))
        valid = torch.cat([torch.ones_like(found.valid[:, :1]), found.valid], dim=1)
        return Features(tokens[:, 0], tokens * valid[..., None], valid)

    return TrainedMethod(
        backbone,
        maps,
        train,
        seed,
        encode_image=encode_image,
        encode_text=encode_text,
        similarity=token_similarity,
        loss=loss,
    )
