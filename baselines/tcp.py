"""TCP (arXiv 2311.18231, github.com/htyao89/Textual-based_Class-aware_prompt_tuning): prompts computed from the text.

Context vectors precede every caption. In the ninth layer of the text tower they are replaced by vectors that a
small network computes from the frozen feature of the same caption. Images stay frozen. 1 - cosine keeps a caption
near its frozen feature.

Differs from the paper: whole captions replace the class names, so the network is conditioned on a caption instead of
a class. No image takes part in it, so every caption is encoded once. The loss is symmetric (`-M loss=image_to_text`
is the paper's direction). 10 epochs instead of 50, AdamW instead of Adam, no random crops and flips, no warm-up
epoch, float32. In a tower of other than 12 layers, the layer is at the same share of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers.activations import QuickGELUActivation

from baselines.coprompt import inconsistency
from benchmark.models.backbone import PROMPTS, Backbone, Features, Prompts
from benchmark.registry import method
from benchmark.settings import LossDirection, TrainConfig
from benchmark.training.learners import ContextVectors
from benchmark.training.loop import Batch
from benchmark.training.losses import info_nce
from benchmark.training.trained_method import TrainedMethod, cosine
from fdrd.errors import FdrdError


class TextAwareContext(nn.Module):
    """Context vectors, and a network that computes those of a later layer from the frozen feature of a caption.

    The layer is counted from 0; the other arguments are those of `ContextVectors`.
    """

    def __init__(self, backbone: Backbone, n_ctx: int, words: str, layer: int, seed: int):
        super().__init__()
        self.context = ContextVectors(backbone, n_ctx, words, 1, seed)
        self.shape = (n_ctx, backbone.text_width)
        self.layer = layer
        width = max(backbone.dim // 4, 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = nn.Sequential(
                nn.Linear(backbone.dim, width),
                QuickGELUActivation(),  # of CLIP
                nn.Linear(width, n_ctx * backbone.text_width),
            )

    def forward(self, frozen: Tensor) -> Prompts:
        """Return the prompts of B captions from their frozen features (B, d)."""
        first = self.context.text[0]
        computed = self.network(frozen).view(-1, *self.shape)
        return Prompts(text=[first, *[first[:0]] * (self.layer - 1), computed])


@method("tcp", needs=PROMPTS, trains="context vectors from the caption")
def tcp(
    backbone: Backbone,
    *,
    n_ctx: int = 4,
    ctx_init: str = "a photo of a",
    layer: int = -1,
    consistency: float = 8.0,
    loss: LossDirection = "symmetric",
    train: TrainConfig = TrainConfig(optimizer="adamw", learning_rate=2e-3),
    seed: int = 0,
) -> TrainedMethod:
    """Train context vectors and a network that computes later ones from the text (arXiv 2311.18231).

    Args:
        layer: layer of the text tower, counted from 1, that gets the computed vectors; -1 is the paper's ninth of
            twelve, or the same share of fewer.
        consistency: weight of 1 - cosine between a caption's feature and its frozen one, at a scale of 100.
        loss: symmetric, or one direction only.

    Raises:
        FdrdError: a negative weight, or a layer that the tower lacks.
    """
    if consistency < 0:
        raise FdrdError(f"tcp: consistency={consistency:g}: must be at least 0")
    layer = round(backbone.text_layers * 9 / 12) if layer == -1 else layer
    if not 2 <= layer <= backbone.text_layers:
        raise FdrdError(f"tcp: layer={layer}: choose 2 to {backbone.text_layers}")
    learner = TextAwareContext(backbone, n_ctx, ctx_init, layer - 1, seed)

    def plain(captions: Sequence[str]) -> Tensor:
        with torch.no_grad():
            return backbone.encode_text(captions, reserve=n_ctx).pooled

    def encode_text(captions: Sequence[str]) -> Features:
        return backbone.encode_text(captions, learner(plain(captions)))

    def near_the_frozen(batch: Batch) -> Tensor:
        texts = encode_text(batch.captions)
        logits = batch.scale_of(backbone) * cosine(backbone.encode_image(batch.images), texts)
        far = inconsistency(texts.pooled, plain(batch.captions))
        return (
            info_nce(logits, loss, batch.repeats)
            + consistency * batch.penalty_share(backbone) * far
        )

    return TrainedMethod(
        backbone, learner, train, seed, encode_text=encode_text, loss=near_the_frozen
    )
