"""An encoder of which only pooled features are used: any model that maps images and captions into one space."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmark.models.backbone import Features, Prompts
from benchmark.models.encoder_options import EncoderOptions
from benchmark.models.frozen_features import FrozenFeatures
from benchmark.models.image_batches import AnyImages, as_batch, digests, select_images
from benchmark.models.processes import shared
from benchmark.models.step_numerics import step_numerics, tower_autocast
from fdrd.errors import FdrdError


class PlainEncoder:
    """Pooled unit features from two functions, see `Encoder`.

    Args:
        encode_images: (B, d) features of B images.
        encode_texts: (B, d) features of B captions.
        name: name that the user gave.
        fingerprint: digest of everything that determines the features.
        dim: d.
        logit_scale: factor of the cosines in the model's contrastive loss.
        logit_bias: added to them in a sigmoid loss.
        context: tokens that it reads of a caption; 0 if unknown.
        count_tokens: tokens of each caption before truncation.
        frozen: cache of features.
        device: where features are returned.
        options: how it runs, of which only the precision counts.
    """

    can: frozenset[str] = frozenset()
    # No layers to write prompts into, so learners of depth 0 can be made.
    text_width = vision_width = text_layers = vision_layers = 0

    def __init__(
        self,
        encode_images: Callable[[AnyImages], Tensor],
        encode_texts: Callable[[Sequence[str]], Tensor],
        *,
        name: str,
        fingerprint: str,
        dim: int,
        logit_scale: float = 100.0,
        logit_bias: float = 0.0,
        context: int = 0,
        count_tokens: Callable[[Sequence[str]], list[int]] | None = None,
        frozen: FrozenFeatures | None = None,
        device: str | torch.device = "cpu",
        options: EncoderOptions = EncoderOptions(),
    ):
        """Make an encoder.

        Note:
            One parameter for each attribute of `Encoder`, so that any model is described in one call.
        """
        self._encode_images = encode_images
        self._encode_texts = encode_texts
        self.name = name
        self.fingerprint = options.fingerprint(fingerprint)
        self._precision = options.precision
        self.dim = dim
        self.logit_scale: float | Tensor = logit_scale
        self.logit_bias: float | Tensor = logit_bias
        self.context = context if count_tokens else 0
        self._count_tokens = count_tokens
        self.frozen = frozen
        self.device = torch.device(device)

    def encode_image(
        self, images: AnyImages, prompts: Prompts = Prompts(), *, tokens: bool = False
    ) -> Features:
        """Return features of B images, or of one."""
        images = as_batch(images)
        self._refuse(tokens or len(prompts.vision) > 0)
        return self._features(
            "image",
            digests(images) if self.frozen else range(len(images)),
            lambda rows: self._encode_images(select_images(images, rows)),
        )

    def encode_text(
        self,
        captions: Sequence[str],
        prompts: Prompts = Prompts(),
        *,
        tokens: bool = False,
        reserve: int = 0,
    ) -> Features:
        """Return features of B captions; `reserve` must be 0."""
        captions = as_batch(captions)
        prompted = len(prompts.text) > 0 or prompts.token_weights is not None
        self._refuse(tokens or prompted or reserve > 0)
        return self._features(
            "text",
            [hashlib.sha256(f"0\n{caption}".encode()).hexdigest() for caption in captions],
            lambda rows: self._encode_texts([captions[row] for row in rows]),
        )

    def count_tokens(self, captions: Sequence[str]) -> list[int]:
        """Return the tokens of each caption before truncation; empty if the context is unknown."""
        return self._count_tokens(captions) if self._count_tokens else []

    def _features(
        self, tower: str, keys: Sequence[str] | range, encode: Callable[[list[int]], Tensor]
    ) -> Features:
        def computed(rows: Sequence[int]) -> Tensor:
            features = encode(list(rows)).detach().float()
            if features.shape != (len(rows), self.dim):
                raise FdrdError(
                    f"{self.name}: {len(rows)} items have features of shape {tuple(features.shape)} "
                    f"instead of ({len(rows)}, {self.dim})"
                )
            return normalize(features, dim=-1)

        with torch.no_grad(), step_numerics(), tower_autocast(self.device, self._precision):
            if self.frozen is None:
                whole = range(len(keys))
                return shared(
                    len(keys), lambda rows: Features(computed(whole[rows]).to(self.device))
                )
            pooled = self.frozen.get(self.fingerprint, tower, list(map(str, keys)), computed)
            return Features(pooled.to(self.device))

    def _refuse(self, asked: bool) -> None:
        if asked:
            raise FdrdError(f"{self.name} gives pooled features only and takes no prompts")
