"""Methods of which only the prompts are new: write a module whose `forward()` returns `Prompts`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from benchmark.models.backbone import Backbone, Features, Prompts
from benchmark.models.image_batches import AnyImages
from benchmark.registry import FitLog
from benchmark.training.learning import learn, pair_loss
from benchmark.training.loop import Batch, TrainConfig
from benchmark.training.losses import LossDirection
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError
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
        device = self.backbone.device
        return learn(self, self.loss, train, validation, self.config, self.seed, device, progress)

    def loss(self, batch: Batch) -> Tensor:
        """InfoNCE of a batch at the backbone's own scale."""
        return pair_loss(self, batch, self.backbone.logit_scale, self.direction)

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


class VisualTokens(nn.Module):
    """Learned tokens behind the patches, fresh at each of the first `depth` vision layers.

    Args:
        backbone: gives the width.
        n_vis: visual tokens per layer.
        depth: vision layers that get them; 0 is the plain tower.
        seed: of the drawn values.

    Raises:
        FdrdError: no token, or the tower has fewer layers.
    """

    def __init__(self, backbone: Backbone, n_vis: int, depth: int, seed: int):
        super().__init__()
        check_size("n_vis", n_vis, "depth", depth, backbone.vision_layers)
        self.vision = drawn_prompts(n_vis, backbone.vision_width, depth, seed)

    def forward(self) -> Prompts:
        """`depth` prompts of (n_vis, vision_width)."""
        return Prompts(vision=list(self.vision))


Coupling: TypeAlias = Literal["linear", "mlp", "independent"]
"""How visual tokens come from context vectors: a coupling function, or not at all."""


class CoupledPrompts(nn.Module):
    """Context vectors in the text tower, and visual tokens that are a function of them, as in MaPLe.

    Each of the first `depth` layers has its own n_ctx context vectors and its own coupling function
    from text_width to vision_width (arXiv 2210.03117, section 3.2.3).

    Args:
        backbone: gives the widths, and the embeddings of words.
        n_ctx: context vectors, and so visual tokens, per layer.
        words: whose first n_ctx tokens the first layer starts from; all else from N(0, 0.02^2).
        depth: layers of both towers that get prompts; 0 is the plain backbone.
        coupling: `linear` as in MaPLe; `mlp` with a hidden layer of a quarter of the text width;
            `independent`: visual tokens of their own.
        seed: of the drawn values.

    Raises:
        FdrdError: no vector, or a tower has fewer layers.
    """

    def __init__(
        self, backbone: Backbone, n_ctx: int, words: str, depth: int, coupling: Coupling, seed: int
    ):
        super().__init__()
        check_size("n_ctx", n_ctx, "depth", depth, backbone.vision_layers)
        self.context = ContextVectors(backbone, n_ctx, "", depth, seed)
        if depth:
            start_from_words(self.context.text[0], backbone, words)
        self.tokens = self.couplings = None
        if coupling == "independent":
            self.tokens = VisualTokens(backbone, n_ctx, depth, seed + 1)
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.couplings = nn.ModuleList(
                    _coupling(coupling, backbone.text_width, backbone.vision_width)
                    for _ in range(depth)
                )

    def forward(self) -> Prompts:
        """`depth` prompts of (n_ctx, text_width) and of (n_ctx, vision_width)."""
        text = self.context().text
        if self.tokens is not None:
            return Prompts(text=text, vision=self.tokens().vision)
        assert self.couplings is not None
        return Prompts(
            text=text,
            vision=[couple(prompt) for couple, prompt in zip(self.couplings, text, strict=True)],
        )


def _coupling(kind: Coupling, text_width: int, vision_width: int) -> nn.Module:
    if kind == "linear":
        return nn.Linear(text_width, vision_width)
    return nn.Sequential(
        nn.Linear(text_width, text_width // 4),
        nn.ReLU(),
        nn.Linear(text_width // 4, vision_width),
    )


@torch.no_grad()
def start_from_words(context: Tensor, backbone: Backbone, words: str) -> None:
    """Put the embeddings of the first tokens of some words over the first context vectors.

    As many as there are of both, so that words fit whatever a tokenizer makes of them.
    """
    spelled = backbone.word_embeddings(words)[: len(context)] if words else context[:0]
    context[: len(spelled)] = spelled


def at_most(backbone: Backbone, depth: int) -> int:
    """So many layers, or all where a tower has fewer."""
    return min(depth, backbone.text_layers, backbone.vision_layers)


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
