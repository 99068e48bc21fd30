"""FSC-CLIP (arXiv 2410.05210, github.com/ytaek-oh/fsc-clip): fine-tuning with global and local losses on negatives.

In addition to CLIP's own loss, an image chooses its caption among its own negatives, once by the pooled features and
once by a local score: each token of a caption attends to the patches, and the similarities of tokens with what they
attend to are summed by logsumexp. Both choices have a focal loss with label smoothing, which gives little weight to
negatives that are easy or nearly right.

Differs from the paper: its negatives shuffle or swap words by parser, ours swap the category or an attribute. The
local score leaves EOS out, and patch features have unit length. Batches of 32 instead of 256 and a learning rate of
1e-5 instead of 5e-6, as in `full`; the logit scale is frozen, no warm-up. The paper also has a variant with LoRA.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, normalize

from baselines.ce_clip import placed_negatives
from benchmark import Backbone, Batch, FineTuned, LossDirection, TrainConfig, info_nce, method
from benchmark.models.backbone import TOKENS, WEIGHTS
from benchmark.registry import Needs
from benchmark.training.trained_method import towers_of


def focal_loss(logits: Tensor, real: Tensor, gamma: float, smoothing: float) -> Tensor:
    """Return the focal loss of B choices whose right answer is the first, over those with a negative.

    Args:
        logits: (B, 1 + K).
        real: (B, K) false where a negative is missing.
        gamma: an answer of probability p weighs (1 - p)^gamma; 0 is the cross entropy.
        smoothing: probability that is shared by all answers, the right one included.

    >>> yes = torch.tensor([[True]])
    >>> round(float(focal_loss(torch.zeros(1, 2), yes, 2.0, 0.0)), 4)  # log(2) / 4
    0.1733
    """
    some = real.any(dim=1)
    if not some.any():
        return logits.sum() * 0
    logits, real = logits[some], real[some]
    answers = torch.cat([real.new_ones(len(real), 1), real], dim=1)
    log_p = log_softmax(logits.masked_fill(~answers, -torch.inf), dim=1).masked_fill(~answers, 0)
    target = answers * (smoothing / answers.sum(1, keepdim=True))
    target[:, 0] += 1 - smoothing
    return -(target * (1 - log_p.exp()).clamp_min(0) ** gamma * log_p).sum(1).mean()


def local_score(tokens: Tensor, valid: Tensor, patches: Tensor, scale: float | Tensor) -> Tensor:
    """Return (B,) scores of captions with images by what their tokens attend to.

    The attention of a token is its similarity with the patches, from 0 at the least similar one, divided by the
    sum. No gradient runs through it.

    Args:
        tokens: (B, T, d) unit features.
        valid: (B, T) true at the caption's own tokens.
        patches: (B, P, d) unit features.
        scale: factor of the similarities.
    """
    attention = torch.einsum("btd,bpd->btp", tokens, patches).detach()
    attention = attention - attention.amin(dim=2, keepdim=True)
    attention = attention / attention.sum(dim=2, keepdim=True).clamp_min(1e-12)
    attended = normalize(torch.einsum("btp,bpd->btd", attention, patches), dim=-1)
    valid = valid | ~valid.any(dim=1, keepdim=True)  # a missing negative; its score is not used
    return (scale * (tokens * attended).sum(2)).masked_fill(~valid, -torch.inf).logsumexp(dim=1)


@method("fsc_clip", needs=Needs(frozenset({WEIGHTS, TOKENS})), trains="both towers")
def fsc_clip(
    backbone: Backbone,
    *,
    n_negatives: int = 4,
    n_attribute: int = 2,
    global_weight: float = 0.5,
    local_weight: float = 0.2,
    gamma: float = 2.0,
    smoothing: float = 0.02,
    loss: LossDirection = "symmetric",
    train: TrainConfig = TrainConfig(optimizer="adamw", learning_rate=1e-5),
    seed: int = 0,
) -> FineTuned:
    """Fine-tune both towers with global and local losses on negatives (arXiv 2410.05210).

    Args:
        global_weight: weight of the choice by pooled features.
        local_weight: weight of the choice by tokens and patches.
        gamma: gamma of the focal loss.
        smoothing: smoothing of the labels.
        loss: direction of the contrastive loss.
    """
    copied = backbone.trainable_copy()

    def batch_loss(batch: Batch, negatives: Sequence[str]) -> Tensor:
        size, scale = len(batch.captions), batch.scale_of(copied)
        images = copied.encode_image(batch.images, tokens=True)
        texts = copied.encode_text([*batch.captions, *negatives], tokens=True)
        assert images.tokens is not None
        assert texts.tokens is not None
        assert texts.valid is not None
        real = torch.tensor([bool(caption) for caption in negatives], device=copied.device)
        real = real.view(size, n_negatives)
        of_image = torch.arange(size, device=copied.device)
        of_text = torch.cat([of_image, of_image.repeat_interleave(n_negatives)])

        def choices(scores: Tensor) -> Tensor:  # (B + B K,) -> (B, 1 + K)
            return torch.cat([scores[:size, None], scores[size:].view(size, -1)], dim=1)

        logits = scale * images.pooled @ texts.pooled[:size].T
        by_pooled = choices(scale * (images.pooled[of_text] * texts.pooled).sum(1))
        by_tokens = choices(local_score(texts.tokens, texts.valid, images.tokens[of_text], scale))
        return (
            info_nce(logits, loss, batch.repeats)
            + global_weight * focal_loss(by_pooled, real, gamma, smoothing)
            + local_weight * focal_loss(by_tokens, real, gamma, smoothing)
        )

    draw = partial(placed_negatives, seed=seed, n_negatives=n_negatives, n_attribute=n_attribute)
    return FineTuned(copied, towers_of(copied), train, seed, batch_loss, draw)
