"""The interface between methods and models: prompts are data, inserted into an unmodified model.

A method passes tensors as `Prompts`, one per layer that they enter, and receives `Features`. Shallow and deep
prompting use the same list: length 0 is plain CLIP, length 1 CoOp (arXiv 2109.01134) or shallow VPT (arXiv
2203.12119), length 9 MaPLe (arXiv 2210.03117).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from benchmark.models.frozen_features import FrozenFeatures
from benchmark.models.image_batches import AnyImages
from fdrd.dataset import Indices

WeightPlace: TypeAlias = Literal["embedding", "attention"]
"""Where word weights act: they scale the embeddings, or their logarithm is added to the attention of every layer."""


@dataclass(frozen=True, eq=False)
class Prompts:
    """Additions of a method to the inputs of the two towers.

    An entry without tokens, (0, width), leaves what is in the layer. If the first entries are such, the tokens
    join at a later layer, without positions, as in MMRL (arXiv 2503.08497).

    Attributes:
        text: entry l enters text layer l: (n_ctx, text_width), or (B, n_ctx, text_width).
        vision: entry l enters vision layer l: (n_vis, vision_width), or (B, n_vis, vision_width).
        word_weights: (B, T) weight of each caption token, T as in `Features.valid` of the same captions
            encoded with `reserve=n_ctx`.
        weight_place: where these weights act.
        readout: (vision_width, d) projection of the mean final state of the visual tokens, which becomes the
            one token feature of an image.
    """

    text: Sequence[Tensor] = ()
    vision: Sequence[Tensor] = ()
    word_weights: Tensor | None = None
    weight_place: WeightPlace = "embedding"
    readout: Tensor | None = None

    def __getitem__(self, rows: slice | Tensor) -> Prompts:
        """Return the prompts of some rows of the batch; prompts shared by all rows stay."""
        text, vision = (
            [entry[rows] if entry.dim() == 3 else entry for entry in entries]
            for entries in (self.text, self.vision)
        )
        weights = None if self.word_weights is None else self.word_weights[rows]
        return replace(self, text=text, vision=vision, word_weights=weights)


@dataclass(frozen=True, eq=False)
class Features:
    """Output of a tower for B images or captions.

    Token features are optional. They never include context slots and visual tokens: T counts BOS, the
    caption's tokens, EOS and padding; P counts the patches.

    Attributes:
        pooled: (B, d) unit length.
        tokens: (B, T, d) or (B, P, d) unit length.
        valid: (B, T) true at the caption's own tokens (not BOS, EOS, padding); texts only.
        token_ids: (B, T) vocabulary ids; texts only.
        words: (B, T) number of the word that a token belongs to, otherwise -1; texts only.
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
        """Return the same features on another device."""
        return self._map(lambda value: value.to(device))

    def _map(self, change: Callable[[Tensor], Tensor]) -> Features:
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            values[field.name] = None if value is None else change(value)
        return Features(**values)


def concatenate(parts: Sequence[Features]) -> Features:
    """Return the features of several batches as one; shorter token axes are padded at the end.

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


PROMPTS, TOKENS, WEIGHTS = "prompts", "token features", "trainable weights"
"""What a backbone may offer beyond pooled features."""

ALL = frozenset({PROMPTS, TOKENS, WEIGHTS})


class Encoder(Protocol):
    """A frozen model that maps images and captions into one joint space."""

    name: str
    """Name given by the user."""
    fingerprint: str
    """Digest of everything that determines its features: weights, preprocessing, tokenizer."""
    device: torch.device
    """Device of its weights and features."""
    can: frozenset[str]
    """What it offers beyond pooled features: `PROMPTS`, `TOKENS`, `WEIGHTS`."""
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
        self, images: AnyImages, prompts: Prompts = ..., *, tokens: bool = False
    ) -> Features:
        """Return features of B images."""

    def encode_text(
        self,
        captions: Sequence[str],
        prompts: Prompts = ...,
        *,
        tokens: bool = False,
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
    vocabulary_size: int
    """Number of token ids."""
    model: Any
    """The CLIPModel; its weights only change in a `trainable_copy`."""

    def trainable_copy(self) -> Backbone:
        """Return a backbone with its own trainable weights, for methods that train the backbone."""

    def save_pretrained(self, folder: str) -> None:
        """Write the model with its tokenizer and image processor, as `transformers` loads them."""

    def words(self, captions: Sequence[str]) -> list[list[str]]:
        """Return the words of each caption, indexed by the numbers in `Features.words`."""

    def word_embeddings(self, words: str) -> Tensor:
        """Return (n, text_width) input embeddings of the tokens of some words."""


LEAST_WEIGHT = 1e-3
"""Weights below it count as this much in the attention, whose logarithm would be infinite or undefined."""

Write = Callable[[Tensor, Tensor], Tensor]
"""(hidden states (B, S, width), prompts) -> hidden states with the prompts in them."""


@contextmanager
def inject(
    embed: nn.Module, layers: nn.ModuleList, prompts: Sequence[Tensor], enter: Write, replace: Write
) -> Iterator[None]:
    """Insert `prompts[0]` after `embed`, and replace it with `prompts[l]` before `layers[l]`.

    Tokens that join later enter before their layer instead.

    Limits: not under `torch.compile`, in `DataParallel` or from two threads at once, because hooks
    belong to the shared module.

    Raises:
        ValueError: more prompts than layers.
    """
    check_depth(prompts, layers)
    handles = []
    first = first_layer(prompts)

    def enters(_module: nn.Module, _args: Any, embedded: Tensor) -> Tensor:
        return enter(embedded, prompts[0])

    def writes(write: Write, prompt: Tensor) -> Callable[[nn.Module, Any], tuple[Any, ...]]:
        return lambda _module, args: (write(args[0], prompt), *args[1:])

    try:
        if first == 0 and prompts:
            handles.append(embed.register_forward_hook(enters))
        for number, (layer, prompt) in enumerate(zip(layers, prompts, strict=False)):
            if number and prompt.shape[-2]:
                write = enter if number == first else replace
                handles.append(layer.register_forward_pre_hook(writes(write, prompt)))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def join(
    layers: nn.ModuleList,
    last: nn.Module,
    prompts: Sequence[Tensor],
    place: int,
    *,
    causal: bool,
) -> Iterator[None]:
    """Insert tokens at `place` before the first layer that has some, and drop them before the module `last`.

    A text tower computes its mask for the tokens of the caption, so it is widened here.

    Args:
        layers: of a tower, called with hidden states and a mask (..., T, T).
        last: follows the layers.
        prompts: as in `Prompts.text`; the first entry is empty.
        place: position of the first inserted token.
        causal: a token attends to those up to itself.

    Raises:
        ValueError: more prompts than layers.
    """
    check_depth(prompts, layers)
    first = first_layer(prompts)
    count = prompts[first].shape[-2]

    def write(prompt: Tensor, cut: int) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
        def hook(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            hidden, mask, *rest = args
            if prompt.shape[-2]:
                tokens = prompt.to(hidden.dtype).expand(len(hidden), -1, -1)
                hidden = torch.cat([hidden[:, :place], tokens, hidden[:, place + cut :]], dim=1)
            return hidden, widened(mask, place, count, causal=causal), *rest

        return hook

    def drop(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return torch.cat([args[0][:, :place], args[0][:, place + count :]], dim=1), *args[1:]

    handles = [last.register_forward_pre_hook(drop)]
    entries = [*prompts, *[prompts[first][..., :0, :]] * (len(layers) - len(prompts))]
    try:
        for number, (layer, prompt) in enumerate(zip(layers, entries, strict=True)):
            if number >= first:
                hook = write(prompt, cut=count if number > first else 0)
                handles.append(layer.register_forward_pre_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


def widened(mask: Tensor | None, place: int, number: int, *, causal: bool) -> Tensor | None:
    """Return a mask (..., T, T) for `number` more tokens at `place`, which are seen like the first token.

    >>> widened(torch.ones(2, 2).tril().bool(), 1, 1, causal=True).int().tolist()
    [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    """
    if mask is None:  # the attention is full, or causal by a flag
        return None
    length = mask.shape[-1]
    kept = torch.arange(length, device=mask.device)
    of = torch.cat([kept[:place], kept.new_zeros(number), kept[place:]])
    mask = mask[..., of, :][..., of]
    if not causal:
        return mask
    later = torch.ones_like(mask, dtype=torch.bool).triu(1)
    return mask.masked_fill(
        later, False if mask.dtype == torch.bool else torch.finfo(mask.dtype).min
    )


def first_layer(prompts: Sequence[Tensor]) -> int:
    """Return the first layer that gets tokens, 0 if none does."""
    return next((layer for layer, prompt in enumerate(prompts) if prompt.shape[-2]), 0)


def check_depth(prompts: Sequence[Tensor], layers: nn.ModuleList) -> None:
    """Check that a tower has a layer for each entry.

    Raises:
        ValueError: it has fewer.
    """
    if len(prompts) > len(layers):
        raise ValueError(
            f"{len(prompts)} layers of prompts for a tower of {len(layers)} layers; lower the depth"
        )


def weigh_words(
    embed: nn.Module,
    layers: nn.ModuleList,
    prompts: Prompts,
    n_ctx: int,
    *,
    start: int,
    causal: bool,
) -> AbstractContextManager[None]:
    """Let word weights act on all tokens but the `n_ctx` slots from position `start`.

    Open it before `inject`, because hooks run in the order of registration.
    """
    weights = prompts.word_weights
    if weights is None:
        return nullcontext()

    def every(length: int) -> Tensor:
        """Return (B, T + n_ctx) weights, 1 for the slots."""
        if length != weights.shape[1] + n_ctx:
            raise ValueError(
                f"word weights for {weights.shape[1]} tokens, but the captions have "
                f"{length - n_ctx}; use those of encode_text(..., reserve={n_ctx})"
            )
        slots = weights.new_ones(len(weights), n_ctx)
        return torch.cat([weights[:, :start], slots, weights[:, start:]], dim=1)

    if prompts.weight_place == "attention":
        return _attend(layers, every, causal=causal)
    return _scale(embed, every)


@contextmanager
def _scale(embed: nn.Module, weights: Callable[[int], Tensor]) -> Iterator[None]:
    """Multiply the embeddings of tokens by their weights."""

    def scale(_module: nn.Module, _args: Any, embedded: Tensor) -> Tensor:
        return embedded * weights(embedded.shape[1]).unsqueeze(-1)

    handle = embed.register_forward_hook(scale)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _attend(
    layers: nn.ModuleList, weights: Callable[[int], Tensor], *, causal: bool
) -> Iterator[None]:
    """Multiply the attention that tokens get in every layer by their weights, before it is normalized."""

    def bias(
        _module: nn.Module, args: tuple[Any, ...], given: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        hidden, mask, *rest = args
        added = (
            weights(hidden.shape[1]).clamp_min(LEAST_WEIGHT).log()[:, None, None].to(hidden.dtype)
        )
        mask = weighted_mask(mask, added, causal=causal)
        # The mask says what is causal; the flag would forbid it.
        return (hidden, mask, *rest), given | ({"is_causal": False} if "is_causal" in given else {})

    handles = [layer.register_forward_pre_hook(bias, with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def weighted_mask(mask: Tensor | None, added: Tensor, *, causal: bool) -> Tensor:
    """Return a mask (B, 1, T, T) of floats, to which a bias (B, 1, 1, T) of the attended tokens is added.

    >>> weighted_mask(None, torch.tensor([[[[0.0, 2.0]]]]), causal=True).clamp_min(-9).tolist()
    [[[[0.0, -9.0], [0.0, 2.0]]]]
    """
    lowest = torch.finfo(added.dtype).min
    square = torch.ones(added.shape[-1], added.shape[-1], dtype=torch.bool, device=added.device)
    seen = mask if mask is not None else square.tril() if causal else square
    if seen.dtype == torch.bool:
        return torch.where(seen, added, lowest)
    return (seen.to(added.dtype) + added).clamp_min(lowest)
