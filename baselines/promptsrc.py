"""PromptSRC (arXiv 2307.06948): deep prompts in both towers, held near the frozen CLIP they start from.

Context vectors and visual tokens are independent of each other. Three things regulate them:
- the L1 distance of prompted to frozen features, of captions and of images;
- the Kullback-Leibler divergence of the prompted similarities from the frozen ones;
- a mean of the prompts over epochs, weighted by a Gaussian over epoch numbers, which is what is
  evaluated.

Differs from the paper: its third part, textual diversity, is left out, because it averages the frozen
feature of a class name over 60 templates, and a caption has no template; whole captions stand where the
class names stood, in slots of their own behind the context; the loss is symmetric, and so is the
divergence (`-M loss=image_to_text` is the paper's direction of both); batches of 32 for 10 epochs
instead of 4 for 20, with the Gaussian at the same share of them; the mean over the epochs so far is
validated after each, and the best of these is kept, where the paper keeps the last; no random crops
and flips; no warm-up epoch; float32. Frozen features are cached, so they cost no second pass.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, l1_loss, log_softmax

from baselines.maple import prompted_layers
from benchmark import (
    AnyImages,
    Backbone,
    Batch,
    CoupledPrompts,
    Features,
    FitLog,
    LossDirection,
    Progress,
    Prompts,
    TrainConfig,
    info_nce,
    learn,
    method,
    silent,
)
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError


class AveragedPrompts(nn.Module):
    """Prompts as they are while training, and as their weighted mean over epochs otherwise.

    The mean is over the ends of all epochs, the running one included, whose end is now. All of it lies
    in the state, so that a training goes on after a kill, and a checkpoint gives the mean.

    Args:
        prompts: what is learned.
        mean: number of the epoch, counted from 1, that weighs most.
        std: of the Gaussian over epoch numbers; 0 is the running epoch alone.
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
        """Prompts of both towers."""
        now: Prompts = self.prompts()
        if self.training:
            return now
        before: Prompts = self.earlier()
        share = gaussian_share(int(self.epoch) + 1, self.mean, self.std)
        return Prompts(
            text=[torch.lerp(b, n, share) for b, n in zip(before.text, now.text, strict=True)],
            vision=[
                torch.lerp(b, n, share) for b, n in zip(before.vision, now.vision, strict=True)
            ],
        )

    @torch.no_grad()
    def enter(self, epoch: int) -> None:
        """Say which epoch is running, counted from 0; the prompts of one that ended join the mean."""
        if epoch == int(self.epoch):
            return
        share = gaussian_share(int(self.epoch) + 1, self.mean, self.std)
        for before, now in zip(self.earlier.parameters(), self.prompts.parameters(), strict=True):
            before.lerp_(now, share)
        self.epoch.fill_(epoch)


def gaussian_share(epoch: int, mean: float, std: float) -> float:
    """What the last of epochs 1, 2, ..., `epoch` weighs in their mean.

    >>> [round(gaussian_share(epoch, 2.0, 1.0), 3) for epoch in (1, 2, 3)]
    [1.0, 0.622, 0.274]
    >>> gaussian_share(3, 2.0, 0.0)
    1.0
    """
    if std == 0:
        return 1.0
    numbers = torch.arange(1, epoch + 1, dtype=torch.float64)
    # A softmax, since the weights themselves may all be too small for a number.
    return float(torch.softmax(-(((numbers - mean) / std) ** 2) / 2, dim=0)[-1])


def divergence(logits: Tensor, frozen: Tensor, direction: LossDirection) -> Tensor:
    """Kullback-Leibler divergence of prompted from frozen choices, over the number of logits.

    Divided as the authors' code does, so that it does not grow with the batch.

    Args:
        logits: (B, B) scaled similarities of images (rows) with captions.
        frozen: the same, of the frozen backbone.
        direction: an image chooses a caption, a caption an image, or the mean of both.

    >>> frozen = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    >>> round(float(divergence(torch.tensor([[0.0, 2.0], [0.0, 0.0]]), frozen, "image_to_text")), 4)
    0.1084
    """
    to_text = _divergence(logits, frozen)
    to_image = _divergence(logits.T, frozen.T)
    if direction == "symmetric":
        return (to_text + to_image) / 2
    return to_text if direction == "image_to_text" else to_image


def _divergence(logits: Tensor, frozen: Tensor) -> Tensor:
    mine, theirs = log_softmax(logits, dim=1), log_softmax(frozen, dim=1)
    return kl_div(mine, theirs, reduction="sum", log_target=True) / logits.numel()


class PromptSRC:
    """A frozen backbone with prompts in both towers that are regulated by its own features.

    Args:
        backbone: stays as it is.
        learner: the prompts.
        n_ctx: how many of them stand in front of a caption.
        weights: of the distance of captions, of that of images, and of the divergence.
        train: how.
        seed: decides the order of the rows.
        loss: direction of the contrastive loss and of the divergence.
    """

    trains: Literal["prompts"] = "prompts"

    def __init__(
        self,
        backbone: Backbone,
        learner: AveragedPrompts,
        n_ctx: int,
        weights: tuple[float, float, float],
        train: TrainConfig,
        seed: int = 0,
        loss: LossDirection = "symmetric",
    ):
        self.backbone = backbone
        self.learner = learner.to(backbone.device).eval()
        self.n_ctx = n_ctx
        self.text_weight, self.image_weight, self.logit_weight = weights
        self.config = train
        self.seed = seed
        self.direction: LossDirection = loss

    def fit(
        self, train: RetrievalDataset, validation: RetrievalDataset, progress: Progress = silent
    ) -> FitLog:
        """Learn the prompts."""
        device = self.backbone.device
        return learn(self, self.loss, train, validation, self.config, self.seed, device, progress)

    def loss(self, batch: Batch) -> Tensor:
        """InfoNCE at the backbone's own scale, and what keeps the prompts near the backbone."""
        self.learner.enter(batch.epoch)
        images, texts = self.encode_image(batch.images), self.encode_text(batch.captions)
        with torch.no_grad():
            plain_images = self.backbone.encode_image(batch.images)
            plain_texts = self.backbone.encode_text(batch.captions, reserve=self.n_ctx)
        logits = self._logits(images, texts)
        frozen = self._logits(plain_images, plain_texts)
        return (
            info_nce(logits, self.direction)
            + self.text_weight * l1_loss(texts.pooled, plain_texts.pooled)
            + self.image_weight * l1_loss(images.pooled, plain_images.pooled)
            + self.logit_weight * divergence(logits, frozen, self.direction)
        )

    def encode_image(self, images: AnyImages) -> Features:
        """Features of B images under the current prompts."""
        return self.backbone.encode_image(images, self.learner())

    def encode_text(self, captions: Sequence[str]) -> Features:
        """Features of B captions under the current prompts."""
        return self.backbone.encode_text(captions, self.learner())

    def similarity(self, images: Features, texts: Features) -> Tensor:
        """(I, C) cosines."""
        return images.pooled @ texts.pooled.T

    def _logits(self, images: Features, texts: Features) -> Tensor:
        return (self.backbone.logit_scale * self.similarity(images, texts)).float()


@method("promptsrc")
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
    gpa_std: float = 1.0,
    loss: LossDirection = "symmetric",
    train: TrainConfig = TrainConfig(learning_rate=0.0025),
    seed: int = 0,
) -> PromptSRC:
    """Prompts in both towers, held near the frozen backbone (arXiv 2307.06948).

    Args:
        backbone: stays frozen.
        n_ctx: context vectors per layer, and as many visual tokens.
        depth: layers of both towers with prompts; -1 is the paper's 9, or all where there are fewer.
        ctx_init: words whose first n_ctx tokens the first layer starts from; else random.
        text_weight: of the L1 distance between prompted and frozen features of captions.
        image_weight: of that of images.
        logit_weight: of the divergence of similarities from the frozen ones.
        gpa_mean: epoch, counted from 1, that weighs most in the mean of the prompts; 0 is three quarters
            of all epochs, as in the paper.
        gpa_std: of the weights over epochs; 0 is no mean.
        loss: symmetric, or one direction alone.
        train: the training.
        seed: of the initial values and the order of the rows.

    Raises:
        FdrdError: a negative weight or deviation, or depth 0, which leaves nothing to learn.
    """
    weights = (text_weight, image_weight, logit_weight)
    names = ("text_weight", "image_weight", "logit_weight", "gpa_mean", "gpa_std")
    for name, value in zip(names, (*weights, gpa_mean, gpa_std), strict=True):
        if value < 0:
            raise FdrdError(f"promptsrc: {name}={value:g}: must be at least 0")
    depth = prompted_layers(backbone, depth, "promptsrc")
    prompts = CoupledPrompts(backbone, n_ctx, ctx_init, depth, "independent", seed)
    learner = AveragedPrompts(prompts, gpa_mean or 0.75 * train.epochs, gpa_std)
    return PromptSRC(backbone, learner, n_ctx, weights, train, seed, loss)
