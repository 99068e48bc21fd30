"""Layers of the towers beside the joint space: read by hooks, cached, and put side by side as blocks.

The joint space keeps what tells captions apart on average. Words and parts that it drops are still in the mean state of
the tokens or patches after an early layer. Layer 0 are the embeddings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from benchmark.models.backbone import LAYERS, Encoder, Features
from benchmark.models.encoder_options import APART, JOINT
from benchmark.models.image_batches import AnyImages
from fdrd.errors import FdrdError

Tower = Literal["image", "text"]

NESTED = ("joint", "last", "0", "middle")
"""Blocks of which `auto` chooses the first 1, 2, 3 or 4."""

OFFERING = (
    "CLIP, MetaCLIP 2, SigLIP, open_clip models that convert to CLIP, `st:` models with these inside, "
    "`features:` with layers"
)
"""Encoders that offer layers."""


def depth(encoder: Encoder, tower: Tower) -> int:
    """Return the number of the last layer of a tower; 0 if the encoder offers no layers."""
    if LAYERS not in encoder.can:
        return 0
    layers: int = getattr(encoder, "vision_layers" if tower == "image" else "text_layers")
    return layers


def check_layers(
    encoder: Encoder, tower: Tower, layers: Sequence[int], *, prompted: bool = False
) -> None:
    """Check that an encoder offers these layers."""
    if layers and prompted:
        raise ValueError("layers are read from a tower without prompts")
    if layers and LAYERS not in encoder.can:
        raise FdrdError(
            f"backbone {encoder.name!r} offers the joint space only; leave out `layers`, or choose "
            f"an encoder that offers them: {OFFERING}"
        )
    last = depth(encoder, tower)
    for layer in layers:
        if not 0 <= layer <= last:
            raise FdrdError(
                f"layers: {layer} is none of backbone {encoder.name!r}; its {tower} tower has 0 (the "
                f"embeddings) to {last}"
            )


def with_layers(
    modules: nn.ModuleList,
    layers: Sequence[int],
    encode: Callable[[], Features],
    selected: Callable[[int], Tensor],
) -> Features:
    """Return the features of a tower with the means of some of its layers; 0 is what enters the first module.

    Args:
        modules: layers of the tower.
        layers: numbers of layers, 0 for the embeddings.
        encode: runs the tower.
        selected: (B, S) true at the states to average, for S states.
    """
    if not layers:
        return encode()
    states: dict[int, Tensor] = {}

    def enters(_module: nn.Module, args: tuple[Any, ...]) -> None:
        states[0] = args[0]

    def leaves(layer: int) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _args: Any, out: Any) -> None:
            states[layer] = out[0] if isinstance(out, tuple) else out

        return hook

    with ExitStack() as hooks:
        if 0 in layers:
            hooks.enter_context(modules[0].register_forward_pre_hook(enters))
        for layer in filter(None, layers):
            hooks.enter_context(modules[layer - 1].register_forward_hook(leaves(layer)))
        features = encode()
    means = [mean_state(states[layer], selected(states[layer].shape[1])) for layer in layers]
    return replace(features, layers=torch.stack(means, dim=1))


def mean_state(states: Tensor, selected: Tensor) -> Tensor:
    """Return (B, width) means over the states (B, S, width) that `selected` (B, S) has, of unit length.

    >>> mean_state(torch.tensor([[[3.0, 4.0], [9.0, 0.0]]]), torch.tensor([[True, False]])).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    total = (states.float() * selected.to(states.device).unsqueeze(-1)).sum(dim=1)
    return normalize(total, dim=-1)  # the length of the mean does not matter


def cached_features(
    encoder: Encoder,
    tower: Tower,
    keys: Sequence[str],
    layers: Sequence[int],
    encode: Callable[[list[int]], Features],
) -> Features:
    """Return pooled features and layers from the encoder's cache, and those that it lacks from one pass."""
    assert encoder.frozen is not None

    def compute(rows: list[int]) -> list[Tensor]:
        features = encode(rows)
        means = [] if features.layers is None else list(features.layers.unbind(dim=1))
        return [features.pooled, *means]

    names = [tower, *(f"{tower}-layer-{layer}" for layer in layers)]
    pooled, *means = encoder.frozen.get(encoder.fingerprint, names, keys, compute)
    return Features(
        pooled.to(encoder.device),
        layers=torch.stack(means, dim=1).to(encoder.device) if means else None,
    )


class BlockEncoder:
    """Features of a frozen encoder as blocks side by side: the joint space, then layers, each of unit length.

    Args:
        encoder: stays frozen.
        layers: blocks in order, e.g. `joint,0,2,4`; `middle` and `last` are layers of each tower. `auto` are those of
            `NESTED`, of which validation chooses how many to use.
        reserve: tokens of a caption that are kept free for prompts.

    Attributes:
        image_dim: width of all blocks of an image.
        text_dim: width of all blocks of a caption.
        sets: (image columns, text columns) of each set of leading blocks to choose from; one if nothing is chosen.
        joint: whether the first block of both sides is a joint space, or each side has its own.

    Raises:
        FdrdError: the layers are not understood, or the encoder does not offer them.
    """

    def __init__(self, encoder: Encoder, layers: str = JOINT, reserve: int = 0):
        self.encoder = encoder
        self._reserve = reserve
        self.names = tuple(map(str.strip, layers.split(",")))
        if layers == "auto":  # a tower of one layer has no middle
            self.names = NESTED[: 4 if min(encoder.vision_layers, encoder.text_layers) > 1 else 3]  # type: ignore[attr-defined]
        self._image = _numbers(encoder, "image", self.names)
        self._text = _numbers(encoder, "text", self.names)
        self.joint = APART not in encoder.can
        joint = (encoder.dim, getattr(encoder, "text_dim", encoder.dim))
        widths = (encoder.vision_width, encoder.text_width) if self._image else (0, 0)  # type: ignore[attr-defined]
        sizes = range(1, len(self.names) + 1) if layers == "auto" else [len(self.names)]
        self.sets = [
            (joint[0] + (size - 1) * widths[0], joint[1] + (size - 1) * widths[1]) for size in sizes
        ]
        self.image_dim, self.text_dim = self.sets[-1]

    @torch.no_grad()
    def encode_image(self, images: AnyImages) -> Tensor:
        """Return (B, image_dim) blocks of B images."""
        if not self._image:
            return self.encoder.encode_image(images).pooled
        return _side_by_side(self.encoder.encode_image(images, layers=self._image))

    @torch.no_grad()
    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """Return (B, text_dim) blocks of B captions, truncated as `Encoder.encode_text` does."""
        # Encoders of users need not know `reserve` and `layers`.
        options: dict[str, Any] = {"reserve": self._reserve} if self._reserve else {}
        if self._text:
            options["layers"] = self._text
        return _side_by_side(self.encoder.encode_text(captions, **options))

    def names_of(self, columns: tuple[int, int]) -> str:
        """Return the blocks of a set as `layers` names them."""
        size = len(self.names) - len(self.sets) + self.sets.index(columns) + 1
        return ",".join(self.names[:size])


def _side_by_side(features: Features) -> Tensor:
    if features.layers is None:
        return features.pooled
    return torch.cat([features.pooled, features.layers.flatten(1)], dim=1)


def _numbers(encoder: Encoder, tower: Tower, names: Sequence[str]) -> tuple[int, ...]:
    """Return the layers of one tower that the blocks after the joint space name."""
    last = depth(encoder, tower)
    by_name = {"middle": last // 2, "last": last}
    first, *others = names
    if first != JOINT or not all(name in by_name or name.isdecimal() for name in others):
        raise FdrdError(
            f"layers={','.join(names)}: give `joint`, then layers by number, `middle` or `last`, e.g. "
            f"`joint,0,last`; or `auto`"
        )
    layers = tuple(by_name[name] if name in by_name else int(name) for name in others)
    check_layers(encoder, tower, layers)
    if len(set(layers)) < len(layers):
        raise FdrdError(f"layers={','.join(names)}: {tower} layers {layers} repeat; remove one")
    return layers
