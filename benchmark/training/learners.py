"""What methods train beside a frozen backbone: prompts in the layers of either tower, and adapters behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from benchmark.models.backbone import Backbone, Features, Prompts
from benchmark.settings import PairLoss, TrainConfig
from benchmark.training.loop import Batch
from benchmark.training.trained_method import TrainedMethod, cosine
from fdrd.errors import FdrdError

MOST_TOKENS = 1000
"""Largest number of learned tokens per layer; a checkpoint of a stranger states theirs."""


class PromptMethod(TrainedMethod):
    """A frozen backbone with learned prompts: `learner()` returns the `Prompts`. Arguments as `TrainedMethod`."""

    def __init__(
        self,
        backbone: Backbone,
        learner: nn.Module,
        train: TrainConfig,
        seed: int = 0,
        loss: PairLoss | Callable[[Batch], Tensor] = "symmetric",
        similarity: Callable[[Features, Features], Tensor] = cosine,
    ):
        super().__init__(
            backbone,
            learner,
            train,
            seed,
            encode_image=lambda images: backbone.encode_image(images, self.learner()),
            encode_text=lambda captions: backbone.encode_text(captions, self.learner()),
            similarity=similarity,
            loss=loss,
        )


class ContextVectors(nn.Module):
    """Learned context before every caption, replaced at each of the first `depth` text layers.

    Args:
        backbone: provides the width and word embeddings.
        n_ctx: context vectors per layer.
        words: their first n_ctx tokens initialize the first layer; the rest comes from N(0, 0.02^2).
        depth: text layers with context; 0 is the plain tower.
        seed: seed of the initial values.

    Raises:
        FdrdError: n_ctx is below 1 or leaves no room for a caption, or the tower has fewer layers.
    """

    def __init__(self, backbone: Backbone, n_ctx: int, words: str, depth: int, seed: int):
        super().__init__()
        # An encoder that takes no prompts need not say how long its captions may be.
        most = backbone.context - 3 if depth else MOST_TOKENS
        check_size("n_ctx", n_ctx, depth, backbone.text_layers, most)
        self.text = drawn_prompts(n_ctx, backbone.text_width, depth, seed)
        if depth and words:  # extra tokens or vectors are left alone
            embedded = backbone.word_embeddings(words)[:n_ctx]
            self.text[0].data[: len(embedded)] = embedded

    def forward(self) -> Prompts:
        """Return `depth` prompts of (n_ctx, text_width)."""
        return Prompts(text=list(self.text))


class VisualTokens(nn.Module):
    """Learned tokens after the patches, n_vis per layer, replaced at each of the first `depth` vision layers.

    Other arguments as `ContextVectors`.

    Raises:
        FdrdError: n_vis is below 1, or the tower has fewer layers.
    """

    def __init__(self, backbone: Backbone, n_vis: int, depth: int, seed: int):
        super().__init__()
        check_size("n_vis", n_vis, depth, backbone.vision_layers)
        self.vision = drawn_prompts(n_vis, backbone.vision_width, depth, seed)

    def forward(self) -> Prompts:
        """Return `depth` prompts of (n_vis, vision_width)."""
        return Prompts(vision=list(self.vision))


Coupling: TypeAlias = Literal["linear", "mlp", "independent"]
"""Function from context vectors to visual tokens; `independent` learns them separately."""


class CoupledPrompts(nn.Module):
    """Context vectors in the text tower, and visual tokens computed from them, as in MaPLe.

    Each of the first `depth` layers of both towers has its own n_ctx context vectors and its own coupling function
    from text_width to vision_width (arXiv 2210.03117, section 3.2.3): `linear` as in MaPLe, or `mlp` with a hidden
    layer of a quarter of the text width. `independent` learns visual tokens separately. Other arguments as
    `ContextVectors`.

    Raises:
        FdrdError: n_ctx is below 1, or a tower has fewer layers.
    """

    def __init__(
        self, backbone: Backbone, n_ctx: int, words: str, depth: int, coupling: Coupling, seed: int
    ):
        super().__init__()
        check_size("n_ctx", n_ctx, depth, backbone.vision_layers)
        self.context = ContextVectors(backbone, n_ctx, words, depth, seed)
        self.tokens = self.couplings = None
        if coupling == "independent":
            self.tokens = VisualTokens(backbone, n_ctx, depth, seed + 1)
            return
        width, outputs = backbone.text_width, backbone.vision_width

        def couple() -> nn.Module:
            if coupling == "linear":
                return nn.Linear(width, outputs)
            hidden = nn.Linear(width, width // 4)
            return nn.Sequential(hidden, nn.ReLU(), nn.Linear(width // 4, outputs))

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.couplings = nn.ModuleList(couple() for _ in range(depth))

    def forward(self) -> Prompts:
        """Return `depth` prompts of (n_ctx, text_width) and of (n_ctx, vision_width)."""
        text = self.context().text
        if self.tokens is not None:
            return Prompts(text=text, vision=self.tokens().vision)
        assert self.couplings is not None
        return Prompts(text, [f(prompt) for f, prompt in zip(self.couplings, text, strict=True)])


def at_most(backbone: Backbone, depth: int) -> int:
    """Return `depth`, or the number of layers of the smaller tower if it has fewer."""
    return min(depth, backbone.text_layers, backbone.vision_layers)


def drawn_prompts(n: int, width: int, depth: int, seed: int) -> nn.ParameterList:
    """Return `depth` parameters (n, width) from N(0, 0.02^2)."""
    generator = torch.Generator().manual_seed(seed)
    return nn.ParameterList(
        nn.Parameter(0.02 * torch.randn(n, width, generator=generator)) for _ in range(depth)
    )


def check_size(name: str, count: int, depth: int, layers: int, most: int = MOST_TOKENS) -> None:
    """Check that a tower has room for the prompts.

    Raises:
        FdrdError: fewer than one token per layer or more than `most`, or more layers than the tower has.
    """
    if not 1 <= count <= most:
        raise FdrdError(f"{name}={count}: must be between 1 and {most}")
    if not 0 <= depth <= layers:
        raise FdrdError(f"depth={depth}: the tower has {layers} layers; choose 0 to {layers}")


AdapterForm: TypeAlias = Literal["bottleneck", "residual", "linear", "identity"]
"""`bottleneck` is CLIP-Adapter's, `residual` and `linear` start as the identity, `identity` learns nothing."""


class Adapter(nn.Module):
    """Map frozen features z (..., inputs) to adapted unit features (..., d). The first d of z are the joint space x.

    | form | result before normalization |
    |---|---|
    | `bottleneck` | ratio * ReLU(W2 ReLU(W1 z)) + (1 - ratio) * x |
    | `residual` | x + ratio * W2 ReLU(W1 z), W2 initially zero |
    | `linear` | x + ratio * W z, W initially zero |
    | `identity` | x |

    Args:
        dim: d.
        form: see the table.
        reduction: the hidden layer has width d / reduction; below 1 it is wider than d.
        ratio: weight of the learned part.
        seed: seed of the initial weights.
        inputs: width of z, by default d; `BlockEncoder` puts layers behind the joint space.

    Raises:
        FdrdError: the reduction is below 0.01, or the ratio outside (0, 1].
    """

    used: Tensor

    def __init__(
        self,
        dim: int,
        form: AdapterForm,
        reduction: float,
        ratio: float,
        seed: int,
        inputs: int | None = None,
    ):
        super().__init__()
        inputs = inputs or dim
        self.dim = dim
        if inputs > dim:  # which layers are read may depend on the training
            self.register_buffer("used", torch.ones(inputs))
        if not reduction >= 0.01:
            raise FdrdError(f"reduction={reduction:g}: must be at least 0.01")
        if not 0 < ratio <= 1:
            raise FdrdError(f"ratio={ratio}: must be above 0 and at most 1")
        self.form = form
        self.ratio = ratio
        self.inner: nn.Module = nn.Identity()
        width = max(int(dim / reduction), 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            inner, last = nn.Linear(inputs, width, bias=False), nn.Linear(width, dim, bias=False)
            if form == "linear":
                self.inner = last = nn.Linear(inputs, dim, bias=False)
            elif form == "residual":
                self.inner = nn.Sequential(inner, nn.ReLU(), last)
            elif form == "bottleneck":
                self.inner = nn.Sequential(inner, nn.ReLU(), last, nn.ReLU())
        if form != "bottleneck":
            nn.init.zeros_(last.weight)

    def use(self, columns: int) -> None:
        """Read the first columns of z only."""
        if len(getattr(self, "used", ())):
            self.used[:columns] = 1
            self.used[columns:] = 0

    def forward(self, features: Tensor) -> Tensor:
        """Return adapted features of unit length."""
        joint = features[..., : self.dim]
        if self.form == "identity":
            return joint
        if features.shape[-1] > self.dim:
            features = features * self.used
        learned = self.ratio * self.inner(features)
        kept = 1 - self.ratio if self.form == "bottleneck" else 1
        return normalize(learned + kept * joint, dim=-1)
