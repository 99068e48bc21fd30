"""MMRL (arXiv 2503.08497, github.com/yunncheng/MMRL): representation tokens shared by both towers' upper layers.

Tokens in a space of their own are projected into each layer of both towers from the sixth on, where they are inserted
without positions. The mean of their final states in the image tower, under a learned projection, is a second feature
of an image. The score is a weighted mean of both features' cosines with the caption. 1 - cosine keeps the first
feature of an image, and the feature of a caption, near the frozen ones.

Differs from the paper: whole captions replace the class names. The loss is symmetric (`-M loss=image_to_text` is the
paper's direction). The paper scores classes that it was not trained on by the first feature alone; here the weight
decides. Batches of 32 for 10 epochs instead of 4 for 10. The reference clones one projection for all layers, ours
draws each. The paper chooses the weight of the consistency per data set, .01 to 7. No random crops and flips, no
warm-up epoch, float32. In towers of other than 12 layers, the first layer is at the same share of them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from baselines.coprompt import inconsistency
from benchmark.models.backbone import PROMPTS, TOKENS, Backbone, Features, Prompts
from benchmark.registry import Needs, method
from benchmark.settings import LossDirection, TrainConfig
from benchmark.training.learners import MOST_TOKENS, PromptMethod
from benchmark.training.loop import Batch
from benchmark.training.losses import info_nce
from benchmark.training.trained_method import cosine
from fdrd.errors import FdrdError

WIDEST = 8192
"""Largest width of the shared space; a checkpoint of a stranger states its own."""


class SharedTokens(nn.Module):
    """Tokens in a shared space, a projection into each prompted layer of both towers, and the readout.

    Layers from `first` on, counted from 0, get tokens, up to the last one of the shallower tower.
    """

    def __init__(self, backbone: Backbone, n_tokens: int, width: int, first: int, seed: int):
        super().__init__()
        layers = min(backbone.text_layers, backbone.vision_layers) - first
        self.first = first
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.tokens = nn.Parameter(0.02 * torch.randn(n_tokens, width))
            self.to_text, self.to_vision = (
                nn.ModuleList(nn.Linear(width, outputs) for _ in range(layers))
                for outputs in (backbone.text_width, backbone.vision_width)
            )
            drawn = torch.randn(backbone.vision_width, backbone.dim)
            self.readout = nn.Parameter(drawn * backbone.vision_width**-0.5)

    def forward(self) -> Prompts:
        """Return the tokens of both towers; the layers before the first get none."""
        text, vision = (
            [project(self.tokens) for project in projections]
            for projections in (self.to_text, self.to_vision)
        )
        return Prompts(
            text=[text[0][:0]] * self.first + text,
            vision=[vision[0][:0]] * self.first + vision,
            readout=self.readout,
        )


def readout_cosine(images: Features, texts: Features) -> Tensor:
    """Return (I, C) cosines of the images' second feature."""
    assert images.tokens is not None
    return images.tokens[:, 0] @ texts.pooled.T


@method("mmrl", needs=Needs(frozenset({PROMPTS, TOKENS})), trains="representation tokens")
def mmrl(
    backbone: Backbone,
    *,
    n_tokens: int = 5,
    width: int = 512,
    first_layer: int = -1,
    weight: float = 0.7,
    consistency: float = 1.0,
    loss: LossDirection = "symmetric",
    train: TrainConfig = TrainConfig(optimizer="adamw", learning_rate=1e-3),
    seed: int = 0,
) -> PromptMethod:
    """Train tokens shared by the upper layers of both towers (arXiv 2503.08497).

    Args:
        n_tokens: tokens per layer.
        width: width of the space that they share.
        first_layer: layer of both towers, counted from 1, that gets the first tokens; -1 is the paper's sixth of
            twelve, or the same share of fewer.
        weight: weight of the first feature of an image in score and loss; the second has the rest.
        consistency: weight of 1 - cosine between features and frozen ones, at a scale of 100.
        loss: symmetric, or one direction only.

    Raises:
        FdrdError: a number outside its range, or a layer that a tower lacks.
    """
    if not 0 <= weight <= 1 or consistency < 0:
        raise FdrdError(
            f"mmrl: weight={weight:g}, consistency={consistency:g}: the first must be between 0 and 1, "
            f"the second at least 0"
        )
    layers = min(backbone.text_layers, backbone.vision_layers)
    first = round(layers * 5 / 12) if first_layer == -1 else first_layer - 1
    for name, value, most in (("n_tokens", n_tokens, MOST_TOKENS), ("width", width, WIDEST)):
        if not 1 <= value <= most:
            raise FdrdError(f"mmrl: {name}={value}: must be between 1 and {most}")
    if not 0 <= first < layers:
        raise FdrdError(f"mmrl: first_layer={first + 1}: choose 1 to {layers}")
    learner = SharedTokens(backbone, n_tokens, width, first, seed)

    def similarity(images: Features, texts: Features) -> Tensor:
        return weight * cosine(images, texts) + (1 - weight) * readout_cosine(images, texts)

    def near_the_frozen(batch: Batch) -> Tensor:
        prompts = learner()
        images = backbone.encode_image(batch.images, prompts)
        texts = backbone.encode_text(batch.captions, prompts)
        with torch.no_grad():
            plain_images = backbone.encode_image(batch.images)
            plain_texts = backbone.encode_text(batch.captions)

        def contrast(cosines: Tensor) -> Tensor:
            return info_nce(batch.scale_of(backbone) * cosines, loss, batch.repeats)

        far = inconsistency(images.pooled, plain_images.pooled)
        far = far + inconsistency(texts.pooled, plain_texts.pooled)
        return (
            weight * contrast(cosine(images, texts))
            + (1 - weight) * contrast(readout_cosine(images, texts))
            + consistency * batch.penalty_share(backbone) * far
        )

    return PromptMethod(backbone, learner, train, seed, near_the_frozen, similarity)
