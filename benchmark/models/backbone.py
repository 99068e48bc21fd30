"""The interface between methods and models: prompts are data, inserted into an unmodified model.

A method passes tensors as `Prompts`, one per layer that they enter, and receives `Features`. Shallow and deep
prompting use the same list: length 0 is plain CLIP, length 1 CoOp (arXiv 2109.01134) or shallow VPT (arXiv
2203.12119), length 9 MaPLe (arXiv 2210.03117).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Protocol, Required, TypedDict

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from benchmark.models.encoder_options import ALL as ALL
from benchmark.models.encoder_options import LAYERS as LAYERS
from benchmark.models.encoder_options import PROMPTS as PROMPTS
from benchmark.models.encoder_options import TOKENS as TOKENS
from benchmark.models.encoder_options import WEIGHTS as WEIGHTS
from benchmark.models.encoder_options import EncoderOptions
from benchmark.models.frozen_features import FrozenFeatures
from benchmark.models.image_batches import AnyImages
from fdrd.dataset import Indices


@dataclass(frozen=True, eq=False)
class Prompts:
    """Additions of a method to the inputs of the two towers.

    An entry without tokens, (0, width), leaves what is in the layer. If the first entries are such, the tokens
    join at a later layer, without positions, as in MMRL (arXiv 2503.08497).

    Attributes:
        text: entry l enters text layer l: (n_ctx, text_width), or (B, n_ctx, text_width).
        vision: entry l enters vision layer l: (n_vis, vision_width), or (B, n_vis, vision_width).
        token_weights: (B, T) factor of each caption token's embedding, T as in `Features.valid` of the same
            captions encoded with `reserve=n_ctx`.
        readout: (vision_width, d) projection of the mean final state of the visual tokens, which becomes the
            one token feature of an image.
    """

    text: Sequence[Tensor] = ()
    vision: Sequence[Tensor] = ()
    token_weights: Tensor | None = None
    readout: Tensor | None = None

    @property
    def in_text(self) -> bool:
        """Whether they change the text tower."""
        return len(self.text) > 0 or self.token_weights is not None

    def __getitem__(self, rows: slice | Tensor) -> Prompts:
        """Return the prompts of some rows of the batch; prompts shared by all rows stay."""
        text, vision = (
            [entry[rows] if entry.dim() == 3 else entry for entry in entries]
            for entries in (self.text, self.vision)
        )
        weights = None if self.token_weights is None else self.token_weights[rows]
        return replace(self, text=text, vision=vision, token_weights=weights)


@dataclass(frozen=True, eq=False, repr=False)
class Features:
    """Output of a tower for B images or captions.

    Token features are optional. They never include context slots and visual tokens: T counts BOS, the
    caption's tokens, EOS and padding; P counts the patches.

    Attributes:
        pooled: (B, d) unit length.
        tokens: (B, T, d) or (B, P, d) unit length.
        valid: (B, T) true at the caption's own tokens (not BOS, EOS, padding); texts only.
        captions: the B captions, for a method that reads them again together with an image; texts only.
        layers: (B, n, width) mean state of the patches, or of the caption's own tokens, after each of n layers of
            the tower; unit length. Layer 0 are the embeddings.
    """

    pooled: Tensor
    tokens: Tensor | None = None
    valid: Tensor | None = None
    layers: Tensor | None = None
    captions: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.pooled)

    def __repr__(self) -> str:
        tensors = {"pooled": self.pooled, "tokens": self.tokens, "layers": self.layers}
        shapes = (f"{name} {(*x.shape,)}" for name, x in tensors.items() if x is not None)
        return f"Features({', '.join(shapes)})"

    def __getitem__(self, rows: slice | Tensor | Indices) -> Features:
        if isinstance(rows, np.ndarray):
            rows = torch.from_numpy(rows)
        chosen = self.map(lambda value: value[rows])
        if self.captions is None:
            return chosen
        indices = torch.arange(len(self))[rows.cpu() if isinstance(rows, Tensor) else rows]
        return replace(chosen, captions=tuple(self.captions[index] for index in indices.tolist()))

    def to(self, device: torch.device | str) -> Features:
        """Return the same features on another device."""
        return self.map(lambda value: value.to(device))

    def map(self, change: Callable[[Tensor], Tensor]) -> Features:
        """Return the features with each tensor changed."""
        changed: dict[str, Any] = {}
        for name in TENSORS:
            value = getattr(self, name)
            changed[name] = None if value is None else change(value)
        return replace(self, **changed)


TENSORS = ("pooled", "tokens", "valid", "layers")
"""Attributes of `Features` that are tensors."""


def concatenate(parts: Sequence[Features]) -> Features:
    """Return the features of several batches as one; shorter token axes are padded at the end.

    >>> a, b = Features(torch.ones(1, 2), valid=torch.ones(1, 3, dtype=torch.bool)), Features(
    ...     torch.zeros(2, 2), valid=torch.ones(2, 1, dtype=torch.bool))
    >>> concatenate([a, b]).valid.int().tolist()
    [[1, 1, 1], [1, 0, 0], [1, 0, 0]]
    """
    joined: dict[str, Any] = {}
    for name in TENSORS:
        values: list[Tensor] = [v for part in parts if (v := getattr(part, name)) is not None]
        if values and name in ("tokens", "valid"):
            longest = max(value.shape[1] for value in values)
            values = [pad(v, [0, 0] * (v.dim() - 2) + [0, longest - v.shape[1]]) for v in values]
        joined[name] = torch.cat(values) if values else None
    captions = [part.captions for part in parts if part.captions is not None]
    return Features(**joined, captions=tuple(chain.from_iterable(captions)) if captions else None)


class Encoder(Protocol):
    """A frozen model that maps images and captions into one joint space."""

    name: str
    """Name given by the user."""
    fingerprint: str
    """Digest of everything that determines its features: weights, preprocessing, tokenizer."""
    device: torch.device
    """Device of its weights and features."""
    can: frozenset[str]
    """What it offers beyond pooled features: `PROMPTS`, `TOKENS`, `WEIGHTS`, `LAYERS`."""
    dim: int
    """Width d of the joint space."""
    frozen: FrozenFeatures | None
    """Cache of its features."""
    context: int
    """Tokens that it reads of a caption, including special ones; 0 if unknown."""
    logit_scale: float | Tensor
    """Factor of the cosines in its contrastive loss, about 100 for CLIP."""
    logit_bias: float | Tensor
    """Added to the scaled cosines in a sigmoid loss."""

    def encode_image(
        self,
        images: AnyImages,
        prompts: Prompts = ...,
        *,
        tokens: bool = False,
        layers: Sequence[int] = (),
    ) -> Features:
        """Return features of B images, with those of some layers if it offers `LAYERS`."""

    def encode_text(
        self,
        captions: Sequence[str],
        prompts: Prompts = ...,
        *,
        tokens: bool = False,
        layers: Sequence[int] = (),
        reserve: int = 0,
    ) -> Features:
        """Return features of B captions, truncated so that `reserve` context slots stay free."""

    def count_tokens(self, captions: Sequence[str]) -> list[int]:
        """Return the tokens of each caption before truncation; empty if the context is unknown."""


class Backbone(Encoder, Protocol):
    """An encoder with two transformer towers, with the sizes that prompt learners need."""

    text_width: int
    """Width of a text prompt."""
    vision_width: int
    """Width of a visual prompt."""
    text_layers: int
    """Layers of the text tower, which limit the depth of text prompts."""
    vision_layers: int
    """Layers of the vision tower, which limit the depth of visual prompts."""
    model: Any
    """The CLIPModel; its weights only change in a `trainable_copy`."""

    def trainable_copy(self) -> Backbone:
        """Return a backbone with its own trainable weights, for methods that train the backbone."""

    def save_pretrained(self, folder: str) -> None:
        """Write the model with its tokenizer and image processor, as `transformers` loads them."""

    def word_embeddings(self, words: str) -> Tensor:
        """Return (n, text_width) input embeddings of the tokens of some words."""


class EncoderSetup(TypedDict, total=False):
    """What every kind of encoder is made with; the function `load` of a kind hands it on."""

    name: Required[str]
    """name that the user gave"""
    device: Required[torch.device | str]
    """where the model runs and features are returned"""
    frozen: FrozenFeatures | None
    """cache of features"""
    options: Required[EncoderOptions]
    """how it runs"""


def _insert(hidden: Tensor, prompt: Tensor, start: int, cut: int) -> Tensor:
    """Return hidden states with a prompt, (n, width) or (B, n, width), at `start` in place of `cut` states."""
    rows = prompt.to(hidden.dtype).expand(len(hidden), -1, -1)
    return torch.cat([hidden[:, :start], rows, hidden[:, start + cut :]], dim=1)


@contextmanager
def vision_prompts(tower: Any, prompts: Prompts) -> Iterator[None]:
    """Insert visual tokens behind the patches of a vision tower while it runs."""

    def write(hidden: Tensor, prompt: Tensor, cut: int) -> Tensor:
        return _insert(hidden, prompt, hidden.shape[1] - cut, cut)

    with inject(tower.embeddings, tower.encoder.layers, prompts.vision, write):
        yield


@contextmanager
def text_prompts(
    tower: Any, prompts: Prompts, n_ctx: int, *, start: int, causal: bool
) -> Iterator[None]:
    """Insert context vectors into a text tower at position `start` while it runs, and weigh its tokens.

    A tower computes its mask for the tokens of the caption. Where vectors join at a later layer, the mask is widened,
    and they are dropped before the last normalization.
    """
    embed, layers, text = tower.embeddings.token_embedding, tower.encoder.layers, prompts.text
    first = first_layer(text)
    end = start + (text[first].shape[-2] if text else 0)

    def write(hidden: Tensor, prompt: Tensor, cut: int) -> Tensor:
        return _insert(hidden, prompt, start, cut)

    def widen(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden, mask, *rest = args
        return hidden, widened(mask, start, end - start, causal=causal), *rest

    def drop(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return torch.cat([args[0][:, :start], args[0][:, end:]], dim=1), *args[1:]

    with ExitStack() as hooks:
        if prompts.token_weights is not None:
            # First, because hooks run in the order of registration.
            weigh = _weigher(prompts.token_weights, n_ctx, start)
            hooks.enter_context(embed.register_forward_hook(weigh))
        hooks.enter_context(inject(embed, layers, text, write, n_ctx))
        if first:
            for layer in layers[first:]:
                hooks.enter_context(layer.register_forward_pre_hook(widen))
            hooks.enter_context(tower.final_layer_norm.register_forward_pre_hook(drop))
        yield


def _weigher(weights: Tensor, n_ctx: int, start: int) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    """Return the hook that multiplies the embeddings of all tokens but the `n_ctx` slots by their weights."""

    def scale(_module: nn.Module, _args: Any, embedded: Tensor) -> Tensor:
        length = embedded.shape[1] - n_ctx
        if length != weights.shape[1]:
            raise ValueError(
                f"weights of {weights.shape[1]} tokens, but the captions have {length}; use those of "
                f"encode_text(..., reserve={n_ctx})"
            )
        slots = weights.new_ones(len(weights), n_ctx)
        factors = torch.cat([weights[:, :start], slots, weights[:, start:]], dim=1)
        return embedded * factors.unsqueeze(-1)

    return scale


@contextmanager
def inject(
    embed: nn.Module,
    layers: nn.ModuleList,
    prompts: Sequence[Tensor],
    write: Callable[[Tensor, Tensor, int], Tensor],
    slots: int = 0,
) -> Iterator[None]:
    """Insert `prompts[0]` after `embed`, and replace it with `prompts[l]` before `layers[l]`.

    Tokens that join later enter before their layer instead.

    Limits: not under `torch.compile`, in `DataParallel` or from two threads at once, because hooks
    belong to the shared module.

    Args:
        embed: embeddings of the tower.
        layers: its layers.
        prompts: a prompt for each of the first layers.
        write: function of hidden states (B, S, width), a prompt, and how many states that one replaces.
        slots: states that `embed` gives in place of `prompts[0]`.

    Raises:
        ValueError: more prompts than layers.
    """
    if len(prompts) > len(layers):
        raise ValueError(
            f"{len(prompts)} layers of prompts for a tower of {len(layers)} layers; lower the depth"
        )
    first = first_layer(prompts)

    def enters(_module: nn.Module, _args: Any, embedded: Tensor) -> Tensor:
        return write(embedded, prompts[0], slots)

    def writes(prompt: Tensor, cut: int) -> Callable[[nn.Module, Any], tuple[Any, ...]]:
        return lambda _module, args: (write(args[0], prompt, cut), *args[1:])

    with ExitStack() as hooks:
        if first == 0 and prompts:
            hooks.enter_context(embed.register_forward_hook(enters))
        for index, (layer, prompt) in enumerate(zip(layers, prompts, strict=False)):
            if index and (count := prompt.shape[-2]):
                hook = writes(prompt, 0 if index == first else count)
                hooks.enter_context(layer.register_forward_pre_hook(hook))
        yield


def widened(mask: Tensor | None, position: int, count: int, *, causal: bool) -> Tensor | None:
    """Return a mask (..., T, T) for `count` more tokens at `position`, which are seen like the first token.

    >>> widened(torch.ones(2, 2).tril().bool(), 1, 1, causal=True).int().tolist()
    [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    """
    if mask is None:  # the attention is full, or causal by a flag
        return None
    kept = torch.arange(mask.shape[-1], device=mask.device)
    seen_as = torch.cat([kept[:position], kept.new_zeros(count), kept[position:]])
    mask = mask[..., seen_as, :][..., seen_as]
    if not causal:
        return mask
    later = torch.ones_like(mask, dtype=torch.bool).triu(1)
    lowest = False if mask.dtype == torch.bool else torch.finfo(mask.dtype).min
    return mask.masked_fill(later, lowest)


def first_layer(prompts: Sequence[Tensor]) -> int:
    """Return the first layer that gets tokens, 0 if none does."""
    return next((layer for layer, prompt in enumerate(prompts) if prompt.shape[-2]), 0)
