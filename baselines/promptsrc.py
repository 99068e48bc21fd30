"""PromptSRC (arXiv 2307.06948): deep prompts in both towers, regularized toward the frozen CLIP.

Context vectors and visual tokens are independent of each other. Three terms regularize them:
- the L1 distance of prompted to frozen features, of captions and of images;
- the Kullback-Leibler divergence of the prompted similarities from the frozen ones;
- a mean of the prompts over epochs, weighted by a Gaussian over epoch numbers, which is evaluated.

Differs from the paper: its textual diversity is omitted, because it averages the frozen feature of a class name
over 60 templates, and a caption has no template. Whole captions replace the class names, in positions of their
own after the context. The loss and the divergence are symmetric (`-M loss=image_to_text` is the paper's
direction). Batches of 32 for 10 epochs instead of 4 for 20, with the Gaussian in
proportion. The mean so far is validated at most ten times and the best is kept, where the paper keeps the last. No
random crops and flips, no warm-up epoch, float32. Frozen features are cached, so they cost no second pass.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, l1_loss, log_softmax

from baselines.maple import prompted_layers
from benchmark.models.backbone import PROMPTS, Backbone, Prompts
from benchmark.registry import method
from benchmark.settings import LossDirection, PairLoss, TrainConfig
from benchmark.training.learners import CoupledPrompts, PromptMethod
from benchmark.training.loop import Batch
from benchmark.training.losses import contrastive_loss, in_direction
from benchmark.training.trained_method import cosine
from fdrd.errors import FdrdError

ROUNDS = 20
"""Equal parts of a training given in steps, in place of the paper's 20 epochs."""


class AveragedPrompts(nn.Module):
    """Current prompts in training mode, and their weighted mean over epochs in evaluation mode.

    The mean covers the ends of all epochs, including the running one, which counts as ended now. Everything is
    part of the state, so training can resume, and a checkpoint gives the mean.

    Args:
        prompts: are trained.
        mean: epoch number, counted from 1, with the largest weight.
        std: standard deviation of the Gaussian over epoch numbers; 0 uses the running epoch only.
    """

    epoch: Tensor

    def __init__(self, prompts: CoupledPrompts, mean: float, std: float):
        super().__init__()
        self.prompts = prompts
        self.earlier = copy.deepcopy(prompts).requires_grad_(False)
        self.register_buffer("epoch", torch.tensor(0))
        self.mean = mean
        self.std = std

    def forward(self) -> Prompts:
        """Return prompts of both towers."""
        now: Prompts = self.prompts()
        if self.training:
            return now
        before: Prompts = self.earlier()
        share = gaussian_share(int(self.epoch) + 1, self.mean, self.std)
        text, vision = (
            [torch.lerp(old, new, share) for old, new in zip(*both, strict=True)]
            for both in ((before.text, now.text), (before.vision, now.vision))
        )
        return Prompts(text, vision)

    @torch.no_grad()
    def enter(self, epoch: int) -> None:
        """Set the running epoch, counted from 0, and add the prompts of an ended one to the mean."""
        if epoch == int(self.epoch):
            return
        share = gaussian_share(int(self.epoch) + 1, self.mean, self.std)
        for before, now in zip(self.earlier.parameters(), self.prompts.parameters(), strict=True):
            before.lerp_(now, share)
        self.epoch.fill_(epoch)


def gaussian_share(epoch: int, mean: float, std: float) -> float:
    """Return the weight of the last of epochs 1, 2, ..., `epoch` in their mean.

    >>> [round(gaussian_share(epoch, 2.0, 1.0), 3) for epoch in (1, 2, 3)]
    [1.0, 0.622, 0.274]
    >>> gaussian_share(3, 2.0, 0.0)
    1.0
    """
    if std == 0:
        return 1.0
    epochs = torch.arange(1, epoch + 1, dtype=torch.float64)
    # A softmax, because the weights themselves may all underflow.
    return float(torch.softmax(-(((epochs - mean) / std) ** 2) / 2, dim=0)[-1])


def divergence(logits: Tensor, frozen: Tensor, direction: LossDirection) -> Tensor:
    """Return the Kullback-Leibler divergence of prompted from frozen choices, per logit.

    As in the authors' code it is divided by the number of logits, so it does not grow with the batch.

    Args:
        logits: (B, B) scaled similarities of images (rows) with captions.
        frozen: the same, of the frozen backbone.
        direction: an image chooses a caption, a caption an image, or the mean of both.

    >>> frozen = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    >>> round(float(divergence(torch.tensor([[0.0, 2.0], [0.0, 0.0]]), frozen, "image_to_text")), 4)
    0.1084
    """
    to_text, to_image = (
        kl_div(log_softmax(mine, 1), log_softmax(theirs, 1), reduction="sum", log_target=True)
        / logits.numel()
        for mine, theirs in ((logits, frozen), (logits.T, frozen.T))
    )
    return in_direction(to_text, to_image, direction)


def regularized(
    backbone: Backbone,
    learner: AveragedPrompts,
    n_ctx: int,
    weights: tuple[float, float, float],
    loss: PairLoss,
    steps: int,
) -> Callable[[Batch], Tensor]:
    """Return the contrastive loss of a batch, plus what keeps features and similarities near the frozen ones.

    The weights are of the distance of captions, of that of images, and of the divergence, whose direction is that of
    the loss. A training given in steps has rounds in place of epochs.
    """
    text_weight, image_weight, logit_weight = weights

    def batch_loss(batch: Batch) -> Tensor:
        learner.enter(batch.step * ROUNDS // steps if steps else batch.epoch)
        images = backbone.encode_image(batch.images, learner())
        texts = backbone.encode_text(batch.captions, learner())
        with torch.no_grad():
            plain_images = backbone.encode_image(batch.images)
            plain_texts = backbone.encode_text(batch.captions, reserve=n_ctx)
        scale = batch.scale_of(backbone)
        logits, frozen = scale * cosine(images, texts), scale * cosine(plain_images, plain_texts)
        far = text_weight * l1_loss(texts.pooled, plain_texts.pooled)
        far = far + image_weight * l1_loss(images.pooled, plain_images.pooled)
        direction: LossDirection = "symmetric" if loss == "sigmoid" else loss
        return (
            contrastive_loss(logits, loss, batch.repeats, batch.bias_of(backbone))
            + batch.penalty_share(backbone) * far
            + logit_weight * divergence(logits, frozen, direction)
        )

    return batch_loss


@method("promptsrc", needs=PROMPTS, trains="prompts in both towers")
def promptsrc(
    backbone: Backbone,
    *,
    n_ctx: int = 4,
    depth: int = -1,
    ctx_init: str = "a photo of a",
    text_weight: float = 25.0,
    image_weight: float = 10.0,
    logit_weight: float = 1.0,
    gpa_mean: float = 0.0,
    gpa_std: float = -1.0,
    loss: PairLoss = "symmetric",
    train: TrainConfig = TrainConfig(learning_rate=0.0025),
    seed: int = 0,
) -> PromptMethod:
    """Train prompts in both towers, regularized toward the frozen backbone (arXiv 2307.06948).

    Args:
        n_ctx: context vectors per layer, and as many visual tokens.
        text_weight: weight of the L1 distance between prompted and frozen features of captions, at a scale of 100.
        image_weight: weight of the same distance for images.
        logit_weight: weight of the divergence of similarities from the frozen ones.
        gpa_mean: epoch, counted from 1, with the largest weight in the mean of the prompts; 0 is three
            quarters of all epochs, as in the paper.
        gpa_std: standard deviation of the weights over epochs; -1 is a twentieth of all epochs, as in the paper;
            0 is no mean.

    Raises:
        FdrdError: a weight is negative, or depth is 0.
    """
    weights = (text_weight, image_weight, logit_weight)
    names = ("text_weight", "image_weight", "logit_weight", "gpa_mean")
    for name, value in zip(names, (*weights, gpa_mean), strict=True):
        if value < 0:
            raise FdrdError(f"promptsrc: {name}={value:g}: must be at least 0")
    depth = prompted_layers(backbone, depth, "promptsrc")
    prompts = CoupledPrompts(backbone, n_ctx, ctx_init, depth, "independent", seed)
    rounds = train.epochs or ROUNDS
    std = rounds / 20 if gpa_std < 0 else gpa_std
    learner = AveragedPrompts(prompts, gpa_mean or 0.75 * rounds, std).eval()
    batch_loss = regularized(backbone, learner, n_ctx, weights, loss, train.steps)
    return PromptMethod(backbone, learner, train, seed, batch_loss)
