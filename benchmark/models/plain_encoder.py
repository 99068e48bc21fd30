"""An encoder of which only pooled features are used: any model that maps images and captions into one space."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmark.models.backbone import LAYERS, Features, Prompts
from benchmark.models.encoder_options import APART, EncoderOptions
from benchmark.models.frozen_features import FrozenFeatures
from benchmark.models.image_batches import AnyImages, as_batch, digests, select_images
from benchmark.models.layers import Tower, cached_features, check_layers
from benchmark.models.processes import shared, step_numerics, tower_autocast
from fdrd.errors import FdrdError


@dataclass(frozen=True)
class LayerFunctions:
    """Functions to (B, d) pooled features and (B, n, width) layers by number; last layer and width of each tower."""

    images: Callable[[AnyImages, Sequence[int]], Features]
    texts: Callable[[Sequence[str], Sequence[int]], Features]
    vision_layers: int
    text_layers: int
    vision_width: int
    text_width: int


class PlainEncoder:
    """Pooled unit features from two functions, see `Encoder`.

    Args:
        encode_images: (B, d) features of B images.
        encode_texts: (B, d) features of B captions.
        name: name that the user gave.
        fingerprint: digest of everything that determines the features.
        dim: d.
        text_dim: width of caption features if these have a space of their own; only `cca` joins the two.
        logit_scale: factor of the cosines in the model's contrastive loss.
        logit_bias: added to them in a sigmoid loss.
        context: tokens that it reads of a caption; 0 if unknown.
        count_tokens: tokens of each caption before truncation.
        frozen: cache of features.
        device: where features are returned.
        options: how it runs, of which only the precision counts.
        layers: functions to features with layers, if it offers `LAYERS`.
    """

    can: frozenset[str] = frozenset()
    # Sizes of 0 allow learners of prompts of depth 0.
    text_width = vision_width = text_layers = vision_layers = 0

    def __init__(
        self,
        encode_images: Callable[[AnyImages], Tensor],
        encode_texts: Callable[[Sequence[str]], Tensor],
        *,
        name: str,
        fingerprint: str,
        dim: int,
        text_dim: int | None = None,
        logit_scale: float = 100.0,
        logit_bias: float = 0.0,
        context: int = 0,
        count_tokens: Callable[[Sequence[str]], list[int]] | None = None,
        frozen: FrozenFeatures | None = None,
        device: str | torch.device = "cpu",
        options: EncoderOptions = EncoderOptions(),
        layers: LayerFunctions | None = None,
    ):
        self._encode: dict[Tower, Callable[[Any], Tensor]] = {
            "image": encode_images,
            "text": encode_texts,
        }
        self.name = name
        self.fingerprint = options.fingerprint(fingerprint)
        self._precision = options.precision
        self.dim = dim
        self.text_dim = text_dim or dim
        if text_dim is not None:
            self.can = self.can | {APART}
        self.logit_scale: float | Tensor = logit_scale
        self.logit_bias: float | Tensor = logit_bias
        self.context = context if count_tokens else 0
        self._count_tokens = count_tokens
        self.frozen = frozen
        self.device = torch.device(device)
        self._layers = layers
        if layers:
            self.can = self.can | {LAYERS}
            self.vision_layers, self.text_layers = layers.vision_layers, layers.text_layers
            self.vision_width, self.text_width = layers.vision_width, layers.text_width

    def encode_image(
        self,
        images: AnyImages,
        prompts: Prompts = Prompts(),
        *,
        tokens: bool = False,
        layers: Sequence[int] = (),
    ) -> Features:
        """Return features of B images, or of one."""
        images = as_batch(images)
        self._refuse(tokens or len(prompts.vision) > 0)
        keys = digests(images) if self.frozen else [""] * len(images)
        return self._features("image", keys, layers, lambda rows: select_images(images, rows))

    def encode_text(
        self,
        captions: Sequence[str],
        prompts: Prompts = Prompts(),
        *,
        tokens: bool = False,
        layers: Sequence[int] = (),
        reserve: int = 0,
    ) -> Features:
        """Return features of B captions; `reserve` must be 0."""
        captions = as_batch(captions)
        self._refuse(tokens or prompts.in_text or reserve > 0)
        keys = [hashlib.sha256(f"0\n{caption}".encode()).hexdigest() for caption in captions]
        return self._features("text", keys, layers, lambda rows: [captions[row] for row in rows])

    def count_tokens(self, captions: Sequence[str]) -> list[int]:
        """Return the tokens of each caption before truncation; empty if the context is unknown."""
        return self._count_tokens(captions) if self._count_tokens else []

    def _features(
        self,
        tower: Tower,
        keys: Sequence[str],
        layers: Sequence[int],
        select: Callable[[list[int]], Any],
    ) -> Features:
        check_layers(self, tower, layers)
        width = self.dim if tower == "image" else self.text_dim

        def computed(rows: list[int]) -> Features:
            if self._layers and layers:
                encode = self._layers.images if tower == "image" else self._layers.texts
                features = encode(select(rows), layers)
            else:
                features = Features(self._encode[tower](select(rows)))
            pooled, means = features.pooled.detach().float(), features.layers
            if pooled.shape != (len(rows), width):
                raise FdrdError(
                    f"{self.name}: {len(rows)} items have features of shape {tuple(pooled.shape)} "
                    f"instead of ({len(rows)}, {width})"
                )
            if means is not None:
                means = normalize(means.detach().float(), dim=-1)
            return Features(normalize(pooled, dim=-1), layers=means)

        with torch.no_grad(), step_numerics(), tower_autocast(self.device, self._precision):
            if self.frozen is None:
                every = list(range(len(keys)))
                return shared(len(keys), lambda rows: computed(every[rows]).to(self.device))
            return cached_features(self, tower, keys, layers, computed)

    def _refuse(self, asked: bool) -> None:
        if asked:
            raise FdrdError(f"{self.name} gives pooled features only and takes no prompts")
