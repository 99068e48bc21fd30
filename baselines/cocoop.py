"""CoCoOp (arXiv 2203.05557): context vectors that a small network shifts for every image.

Here a caption has no feature without an image. Pooled features are those of the frozen backbone, and `similarity`
encodes each caption again, after the context of one image. I images and C captions would need I x C passes of the
text tower, so **this method is scored by shortlist**: a pair is rescored if its frozen similarity is among the
highest `rerank` share for its image. All other pairs rank below those, in their frozen order. `-M rerank=1`
rescores every pair.

The threshold of an image comes from a fixed sample of training captions that is kept in the checkpoint. It cannot
come from the gallery, because galleries are scored in blocks. A pair therefore has the same score in any gallery.
If captions are closer to the images than those of training (another domain), more of them are rescored.

Differs from the paper: the shortlist. Whole captions replace the class names, so a batch of pairs replaces the
class list. The loss is symmetric (`-M loss=image_to_text` is the paper's direction). Batches of 8 instead of 1,
because a pair is contrasted only within its batch, and a step encodes batch_size^2 captions. The best epoch on
validation instead of the last. No random crops and flips, no warm-up epoch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.models.backbone import PROMPTS, Backbone, Features, Prompts
from benchmark.registry import TrainContext, method
from benchmark.settings import PairLoss, TrainConfig
from benchmark.training.learners import ContextVectors
from benchmark.training.loop import Batch
from benchmark.training.losses import contrastive_loss
from benchmark.training.trained_method import TrainedMethod
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError

SAMPLE = 1000
"""Training captions that define a high similarity for an image."""

PAIRS = 256
"""Pairs of an image and a caption encoded at a time."""

ROUNDING = 1e-5
"""Tolerance below the threshold, so that a caption of the sample passes its own threshold."""

_SHORTLIST = (
    "only the {share:g} of the captions that frozen CLIP ranks highest for an image are read in its "
    "context, each in a pass of the text tower; the others keep the frozen order below them."
)


class ConditionalContext(nn.Module):
    """Context vectors plus a shift computed from an image feature, the same for all; arguments as `ContextVectors`."""

    sample: Tensor

    def __init__(self, backbone: Backbone, n_ctx: int, words: str, seed: int):
        super().__init__()
        self.encode_text = (
            backbone.encode_text
        )  # a backbone that is a module would be a part of the learner
        self.context = ContextVectors(backbone, n_ctx, words, 1, seed)
        width = max(backbone.dim // 16, 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.shift = nn.Sequential(
                nn.Linear(backbone.dim, width), nn.ReLU(), nn.Linear(width, backbone.text_width)
            )
        # Before `fit` the sample is zero, and pairs of non-negative similarity are rescored.
        self.register_buffer("sample", torch.zeros(SAMPLE, backbone.dim))

    def forward(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """Return (n,) cosines of image features (n, d) with one caption each, in its context."""
        context = self.context.text[0] + self.shift(images)[:, None]  # (n, n_ctx, text_width)
        texts = self.encode_text(captions, Prompts(text=[context]))
        return (images * texts.pooled).sum(dim=1)

    def threshold(self, images: Tensor, share: float) -> Tensor:
        """Return (B,) similarities that this share of the sampled captions reaches with each image."""
        if share == 1:
            return images.new_full((len(images),), -torch.inf)
        best = (images @ self.sample.T).topk(max(1, round(share * SAMPLE)), dim=1).values
        return best[:, -1] - ROUNDING

    def scores(self, images: Features, texts: Features, share: float, pair_limit: int) -> Tensor:
        """Return (I, C) scores: cosines in context on the shortlist, frozen ones minus 2 elsewhere.

        Raises:
            FdrdError: the shortlist has more pairs than `pair_limit`.
        """
        assert texts.captions is not None
        frozen = images.pooled @ texts.pooled.T
        threshold = self.threshold(images.pooled, share)
        pairs = (frozen >= threshold[:, None]).nonzero()  # (pairs, 2)
        if len(pairs) > pair_limit:
            raise FdrdError(
                f"cocoop: {len(pairs)} pairs of {frozen.numel()} are on the shortlist, and each is a "
                f"pass of the text tower; lower -M rerank={share:g}, use a smaller `gallery`, "
                f"or allow them with -M pair_limit={len(pairs)}"
            )
        scores = frozen - 2  # below every cosine
        for start in range(0, len(pairs), PAIRS):
            image, caption = pairs[start : start + PAIRS].T
            captions = [texts.captions[index] for index in caption.tolist()]
            scores[image, caption] = self(images.pooled[image], captions)
        return scores


@method("cocoop", needs=PROMPTS, trains="context vectors from the image")
def cocoop(
    backbone: Backbone,
    *,
    n_ctx: int = 4,
    ctx_init: str = "a photo of a",
    rerank: float = 0.02,
    pair_limit: int = 200_000,
    loss: PairLoss = "symmetric",
    train: TrainConfig = TrainConfig(batch_size=8),
    seed: int = 0,
) -> TrainedMethod:
    """Train context that depends on the image; scored by shortlist (arXiv 2203.05557).

    Args:
        rerank: share of the captions that are rescored in the context of an image, those that frozen CLIP
            ranks highest; the rest keep the frozen order below them; 1 is all.
        pair_limit: pairs that may be rescored at a time before the run is refused.

    Raises:
        FdrdError: a share outside (0, 1].
    """
    if not 0 < rerank <= 1:
        raise FdrdError(f"cocoop: rerank={rerank:g}: must be above 0 and at most 1")
    learner = ConditionalContext(backbone, n_ctx, ctx_init, seed)

    def draw_sample(
        rows: RetrievalDataset, _validation: RetrievalDataset, _context: TrainContext
    ) -> None:
        order = np.random.default_rng(seed).permutation(len(rows.captions))
        chosen = np.resize(order, SAMPLE)  # repeats captions if there are fewer
        plain = encode_text([rows.captions[index] for index in chosen])
        learner.sample.copy_(plain.pooled)

    def encode_text(captions: Sequence[str]) -> Features:
        pooled = backbone.encode_text(captions, reserve=n_ctx).pooled
        return Features(pooled, captions=tuple(captions))

    def batch_loss(batch: Batch) -> Tensor:
        """Return the loss of a batch, from every image with every caption."""
        images = backbone.encode_image(batch.images).pooled
        size = len(images)
        every = images.repeat_interleave(size, dim=0)  # (B * B, d): image by image
        scores = learner(every, [*batch.captions] * size).view(size, size)
        logits = batch.scale_of(backbone) * scores
        return contrastive_loss(logits, loss, batch.repeats, batch.bias_of(backbone))

    return TrainedMethod(
        backbone,
        learner,
        train,
        seed,
        encode_text=encode_text,
        similarity=lambda images, texts: learner.scores(images, texts, rerank, pair_limit),
        loss=batch_loss,
        prepare=draw_sample,
        remarks={} if rerank == 1 else {"shortlist": _SHORTLIST.format(share=rerank)},
    )
