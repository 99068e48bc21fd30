"""The seam between methods and CLIP: prompts are data, written into an unmodified model.

A method hands tensors over as `Prompts`, one per layer that they enter, and gets `Features` back.
Shallow and deep prompting are the same list: length 0 is plain CLIP, length 1 CoOp (arXiv
2109.01134) or shallow VPT (arXiv 2203.12119), length 9 MaPLe (arXiv 2210.03117). `benchmark.models.clip`
implements the protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from benchmark.models.image_batches import AnyImages
from fdrd.dataset import Indices


@dataclass(frozen=True, eq=False)
class Prompts:
    """What a method adds to the inputs of the two towers.

    Attributes:
        text: entry l enters text layer l: (n_ctx, text_width), or (B, n_ctx, text_width).
        vision: entry l enters vision layer l: (n_vis, vision_width), or (B, n_vis, vision_width).
        word_weights: (B, T) scale of each caption token's embedding, T as in `Features.valid` of
            the same captions encoded with `reserve=n_ctx`.
    """

    text: Sequence[Tensor] = ()
    vision: Sequence[Tensor] = ()
    word_weights: Tensor | None = None

    def __getitem__(self, rows: slice | Tensor) -> Prompts:
        """The prompts of some rows of the batch; those that all rows share stay."""
        text, vision = (
            [entry[rows] if entry.dim() == 3 else entry for entry in entries]
            for entries in (self.text, self.vision)
        )
        weights = None if self.word_weights is None else self.word_weights[rows]
        return Prompts(text, vision, weights)


@dataclass(frozen=True, eq=False)
class Features:
    """What a tower says about B images or captions.

    Token features are there on request. Context slots and visual tokens are never among them: T
    counts BOS, the caption's tokens, EOS and padding; P counts the patches.

    Attributes:
        pooled: (B, d) unit length.
        tokens: (B, T, d) or (B, P, d) unit length.
        valid: (B, T) true at the caption's own tokens (not BOS, EOS, padding); texts only.
        token_ids: (B, T) vocabulary ids; texts only.
        words: (B, T) which word of the caption a token is a piece of, else -1; texts only.
    """

    pooled: Tensor
    tokens: Tensor | None = None
    valid: Tensor | None = None
    token_ids: Tensor | None = None
    words: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pooled)

    def __getitem__(self, rows: slice | Tensor | Indices) -> Features:
        if isinstance(rows, np.ndarray):
            rows = torch.from_numpy(rows)
        return self._map(lambda value: value[rows])

    def to(self, device: torch.device | str) -> Features:
        """The same features on another device."""
        return self._map(lambda value: value.to(device))

    def _map(self, change: Callable[[Tensor], Tensor]) -> Features:
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            values[field.name] = None if value is None else change(value)
        return Features(**values)


def concatenate(parts: Sequence[Features]) -> Features:
    """The features of several batches as one; shorter token axes are padded at their end.

    >>> a, b = Features(torch.ones(1, 2), valid=torch.ones(1, 3, dtype=torch.bool)), Features(
    ...     torch.zeros(2, 2), valid=torch.ones(2, 1, dtype=torch.bool))
    >>> concatenate([a, b]).valid.int().tolist()
    [[1, 1, 1], [1, 0, 0], [1, 0, 0]]
    """
    joined: dict[str, Any] = {}
    for field in fields(Features):
        values: list[Tensor] = [v for part in parts if (v := getattr(part, field.name)) is not None]
        fill = -1 if field.name == "words" else 0
        if values and values[0].dim() > 1 and field.name != "pooled":
            longest = max(value.shape[1] for value in values)
            values = [
                pad(v, [0, 0] * (v.dim() - 2) + [0, longest - v.shape[1]], value=fill)
                for v in values
            ]
        joined[field.name] = torch.cat(values) if values else None
    return Features(**joined)


class Backbone(Protocol):
    """A frozen pair of towers into one joint space, with the sizes that learners need."""

    @property
    def name(self) -> str:
        """What the user called it."""

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides its features: weights, preprocessing, tokenizer."""

    @property
    def device(self) -> torch.device:
        """Where its weights lie and its features come out."""

    @property
    def dim(self) -> int:
        """Width d of the joint space."""

    @property
    def text_width(self) -> int:
        """Width of a text prompt."""

    @property
    def vision_width(self) -> int:
        """Width of a visual prompt."""

    @property
    def text_layers(self) -> int:
        """Layers of the text tower, hence the greatest depth of text prompts."""

    @property
    def vision_layers(self) -> int:
        """Layers of the vision tower, hence the greatest depth of visual prompts."""

    @property
    def vocabulary_size(self) -> int:
        """How many token ids there are."""

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied by in its contrastive loss, about 100 for CLIP."""

    def encode_image(
        self, images: AnyImages, prompts: Prompts = ..., *, tokens: bool = False
    ) -> Features:
        """Features of B images."""

    def encode_text(
        self,
        captions: Sequence[str],
        prompts: Prompts = ...,
        *,
        tokens: bool = False,
        reserve: int = 0,
    ) -> Features:
        """Features of B captions, cut so that `reserve` slots of the context stay free."""

    def trainable_copy(self) -> Backbone:
        """One with weights of its own that take gradients, for methods that train the backbone."""

    @property
    def model(self) -> Any:
        """The CLIPModel; its weights stay as they are but in a `trainable_copy`."""

    def words(self, captions: Sequence[str]) -> list[list[str]]:
        """The words of each caption, by the numbers that `Features.words` gives them."""

    def word_embeddings(self, words: str) -> Tensor:
        """(n, text_width) input embeddings of the tokens of some words."""


Write = Callable[[Tensor, Tensor], Tensor]
"""(hidden states (B, S, width), prompts) -> hidden states with the prompts in them."""


@contextmanager
def inject(
    embed: nn.Module, layers: nn.ModuleList, prompts: Sequence[Tensor], enter: Write, replace: Write
) -> Iterator[None]:
    """While open, `prompts[0]` enters after `embed`, `prompts[l]` replaces it before `layers[l]`.

    Limits: not under `torch.compile`, in `DataParallel` or from two threads at once, since hooks
    belong to the shared module. The text tower must be BOS-first, causal and right-padded, as
    CLIP's is.

    Raises:
        ValueError: there are more prompts than layers.
    """
    if len(prompts) > len(layers):
        raise ValueError(
            f"{len(prompts)} layers of prompts for a tower of {len(layers)} layers; lower the depth"
        )
    handles = []

    def enters(_module: nn.Module, _args: Any, embedded: Tensor) -> Tensor:
        return enter(embedded, prompts[0])

    def replaces(prompt: Tensor) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
        return lambda _module, args: (replace(args[0], prompt), *args[1:])

    try:
        if prompts:
            handles.append(embed.register_forward_hook(enters))
        for layer, prompt in zip(list(layers)[1:], prompts[1:], strict=False):
            handles.append(layer.register_forward_pre_hook(replaces(prompt)))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def weigh_words(embed: nn.Module, weights: Tensor | None, n_ctx: int) -> Iterator[None]:
    """While open, scale `embed`'s output token by token, except the `n_ctx` slots after BOS.

    Open it before `inject`: hooks run in the order of their registration.
    """
    if weights is None:
        yield
        return

    def scale(_module: nn.Module, args: tuple[Tensor, ...], embedded: Tensor) -> Tensor:
        if embedded.shape[1] != weights.shape[1] + n_ctx:
            raise ValueError(
                f"word weights for {weights.shape[1]} tokens, but the captions have "
                f"{embedded.shape[1] - n_ctx}; take them from encode_text(..., reserve={n_ctx})"
            )
        slots = weights.new_ones(len(weights), n_ctx)
        every = torch.cat([weights[:, :1], slots, weights[:, 1:]], dim=1)  # (B, T + n_ctx)
        return embedded * every.unsqueeze(-1)

    handle = embed.register_forward_hook(scale)
    try:
        yield
    finally:
        handle.remove()
