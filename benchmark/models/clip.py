"""`Backbone` around an unmodified `transformers` CLIPModel.

Towers and projections are called one by one instead of `get_text_features`, whose return type changed between
releases.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import CLIPModel

from benchmark.models.backbone import Features, Prompts, concatenate, inject, weigh_words
from benchmark.models.chunks import in_chunks
from benchmark.models.frozen_features import FrozenFeatures
from benchmark.models.image_batches import AnyImages, digests, select_images
from benchmark.models.model_copy import with_own_weights
from benchmark.models.pixel_cache import PixelCache
from benchmark.models.processes import shared
from fdrd.errors import FdrdError

CPU_ROWS = 16
"""Rows that a tower encodes at a time on a CPU; the activations of more exceed its caches."""

_PLAIN = Prompts()
_PREPROCESSING = (
    *("do_convert_rgb", "do_resize", "size", "resample", "do_center_crop", "crop_size"),
    *("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std"),
)


class CLIPBackbone:
    """A frozen CLIPModel that takes prompts, see `Backbone`.

    Pooled features of an unprompted tower come from `frozen` if it is given. Captions longer than the
    context lose words, never EOS.

    Args:
        model: is frozen and put into evaluation mode; its code and weights stay unchanged.
        tokenizer: a fast tokenizer that writes BOS first and EOS last.
        image_processor: converts images to `pixel_values`.
        name: given by the user.
        frozen: cache for features of unprompted towers.
        device: `cpu`, `cuda`, ...

    Raises:
        FdrdError: the tokenizer does not fit the model.
    """

    def __init__(
        self,
        model: CLIPModel,
        tokenizer: Any,
        image_processor: Any,
        *,
        name: str,
        frozen: FrozenFeatures | None = None,
        device: str | torch.device = "cpu",
    ):
        self.name = name
        self.frozen = frozen
        self.device = torch.device(device)
        self.model = model.to(self.device).eval().requires_grad_(False)
        self._rows = sys.maxsize
        if self.device.type == "cpu":
            self._rows = CPU_ROWS
            # Captions are short, and the fused kernel is slower than its parts.
            self.model.set_attn_implementation("eager")
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self._pixels = PixelCache(image_processor)
        text, vision = model.config.text_config, model.config.vision_config
        self.dim: int = model.config.projection_dim
        self.text_width: int = text.hidden_size
        self.vision_width: int = vision.hidden_size
        self.text_layers: int = text.num_hidden_layers
        self.vision_layers: int = vision.num_hidden_layers
        self.vocabulary_size: int = text.vocab_size
        self.logit_scale = float(model.logit_scale.detach().float().exp())
        self._context = min(tokenizer.model_max_length, text.max_position_embeddings)
        self._bos, self._eos = _ends(tokenizer, text.eos_token_id, name)
        self.fingerprint = _fingerprint(model, tokenizer, image_processor)

    def trainable_copy(self) -> CLIPBackbone:
        """Return a backbone with its own trainable weights and no feature cache.

        Raises:
            FdrdError: the model cannot be copied.
        """
        try:
            model = with_own_weights(self.model)
        except (TypeError, RuntimeError) as error:
            raise FdrdError(
                f"backbone {self.name!r} cannot be copied for fine-tuning ({error}); give its modules "
                f"a __deepcopy__, or choose a method that leaves the backbone frozen"
            ) from error
        copied = CLIPBackbone(
            model,
            self.tokenizer,
            self.image_processor,
            name=self.name,
            device=self.device,
        )
        copied.model.requires_grad_(True)
        return copied

    def encode_image(
        self, images: AnyImages, prompts: Prompts = _PLAIN, *, tokens: bool = False
    ) -> Features:
        """Return features of B images."""
        if self.frozen is None or prompts.vision or tokens:
            return shared(
                len(images), lambda rows: self._encode_images(images[rows], prompts[rows], tokens)
            )
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            pooled = self.frozen.get(
                self.fingerprint,
                "image",
                digests(images),
                lambda rows: (
                    self._encode_images(select_images(images, rows), prompts, False).pooled
                ),
            )
        return Features(pooled.to(self.device))

    def encode_text(
        self,
        captions: Sequence[str],
        prompts: Prompts = _PLAIN,
        *,
        tokens: bool = False,
        reserve: int = 0,
    ) -> Features:
        """Return features of B captions, truncated so that `reserve` context slots stay free."""
        prompted = len(prompts.text) > 0 or prompts.word_weights is not None
        room = self._context - max(_length(prompts.text, self.text_width, "text"), reserve)
        if self.frozen is None or prompted or tokens:
            ids, words = self._tokenize(captions, room)  # (B, T) each
            found = shared(
                len(ids), lambda rows: self._encode_ids(ids[rows], prompts[rows], tokens)
            )
            return (
                dataclasses.replace(found, valid=words >= 0, token_ids=ids, words=words)
                if tokens
                else found
            )
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            pooled = self.frozen.get(
                self.fingerprint,
                "text",
                [_digest(f"{reserve}\n{caption}".encode()) for caption in captions],
                lambda rows: (
                    self._encode_ids(
                        self._tokenize([captions[row] for row in rows], room)[0], prompts, False
                    ).pooled
                ),
            )
        return Features(pooled.to(self.device))

    def words(self, captions: Sequence[str]) -> list[list[str]]:
        """Return the words of each caption, indexed by the numbers in `Features.words`."""
        coded = self.tokenizer(list(captions), add_special_tokens=False)
        return [
            [
                caption[slice(*coded.word_to_chars(row, number))]
                for number in range(
                    1 + max((n for n in coded.word_ids(row) if n is not None), default=-1)
                )
            ]
            for row, caption in enumerate(captions)
        ]

    def word_embeddings(self, words: str) -> Tensor:
        """Return (n, text_width) input embeddings of the tokens of some words."""
        ids = self.tokenizer(words, add_special_tokens=False)["input_ids"]
        weight: Tensor = self.model.text_model.embeddings.token_embedding.weight
        return (
            weight[torch.tensor(ids, dtype=torch.long, device=self.device)].detach().float().clone()
        )

    def _encode_images(self, images: AnyImages, prompts: Prompts, tokens: bool) -> Features:
        pixels = self._pixels.of(images)
        return in_chunks(
            len(pixels), lambda rows: self._encode_pixels(pixels[rows], prompts[rows], tokens)
        )

    def _encode_pixels(self, pixels: Tensor, prompts: Prompts, tokens: bool) -> Features:
        parts = [slice(start, start + self._rows) for start in range(0, len(pixels), self._rows)]
        return concatenate(
            [self._vision_tower(pixels[part], prompts[part], tokens) for part in parts]
        )

    def _vision_tower(self, pixels: Tensor, prompts: Prompts, tokens: bool) -> Features:
        tower = self.model.vision_model
        n_vis = _length(prompts.vision, self.vision_width, "vision")

        def enter(hidden: Tensor, prompt: Tensor) -> Tensor:
            return torch.cat([hidden, _rows(prompt, hidden)], dim=1)

        def replace(hidden: Tensor, prompt: Tensor) -> Tensor:
            return enter(hidden[:, : hidden.shape[1] - n_vis], prompt)

        with inject(tower.embeddings, tower.encoder.layers, prompts.vision, enter, replace):
            out = tower(pixel_values=pixels.to(self.device))
        pooled = _unit(self.model.visual_projection(out.pooler_output))
        if not tokens:
            return Features(pooled)
        hidden = out.last_hidden_state  # (B, 1 + P + n_vis, vision_width)
        patches = tower.post_layernorm(hidden[:, 1 : hidden.shape[1] - n_vis])
        return Features(pooled, _unit(self.model.visual_projection(patches)))

    def _encode_ids(self, ids: Tensor, prompts: Prompts, tokens: bool) -> Features:
        tower = self._text_tower if tokens else self._encode_by_length
        return in_chunks(len(ids), lambda rows: tower(ids[rows], prompts[rows], tokens))

    def _encode_by_length(self, ids: Tensor, prompts: Prompts, tokens: bool) -> Features:
        """Encode captions of similar length together, so that few are padded."""
        length = (ids != self._eos).sum(1) + 1
        order = length.argsort(stable=True)
        pooled = []
        for start in range(0, len(ids), self._rows):
            rows = order[start : start + self._rows]
            width, some = int(length[rows].max()), prompts[rows]
            weights = some.word_weights
            if weights is not None and weights.shape[1] == ids.shape[1]:  # others are refused later
                some = dataclasses.replace(some, word_weights=weights[:, :width])
            pooled.append(self._text_tower(ids[rows, :width], some, tokens).pooled)
        return Features(torch.cat(pooled)[order.argsort()])

    def _text_tower(self, ids: Tensor, prompts: Prompts, tokens: bool) -> Features:
        tower = self.model.text_model
        embed = tower.embeddings.token_embedding
        n_ctx = _length(prompts.text, self.text_width, "text")
        # A slot holds BOS until the hook overwrites it. Any id works except EOS, where CLIP pools.
        slots = ids.new_full((len(ids), n_ctx), self._bos)

        def write(hidden: Tensor, prompt: Tensor) -> Tensor:
            return torch.cat([hidden[:, :1], _rows(prompt, hidden), hidden[:, 1 + n_ctx :]], dim=1)

        with (
            weigh_words(embed, prompts.word_weights, n_ctx),
            inject(embed, tower.encoder.layers, prompts.text, write, write),
        ):
            # No attention mask: the tower is causal, so nothing up to EOS attends to the padding.
            out = tower(input_ids=torch.cat([ids[:, :1], slots, ids[:, 1:]], dim=1))
        pooled = _unit(self.model.text_projection(out.pooler_output))
        if not tokens:
            return Features(pooled)
        hidden = torch.cat([out.last_hidden_state[:, :1], out.last_hidden_state[:, 1 + n_ctx :]], 1)
        return Features(pooled, _unit(self.model.text_projection(hidden)))

    def _tokenize(self, captions: Sequence[str], longest: int) -> tuple[Tensor, Tensor]:
        if longest < 3:
            raise FdrdError(
                f"no room for a caption: the context of {self.name} has {self._context} tokens, "
                f"of which context vectors take {self._context - longest}; lower n_ctx"
            )
        coded = self.tokenizer(list(captions), truncation=True, max_length=longest)
        width = max(len(row) for row in coded["input_ids"])
        ids = torch.full((len(captions), width), self._eos)
        words = torch.full((len(captions), width), -1)
        for row, tokens in enumerate(coded["input_ids"]):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            numbers = coded.word_ids(row)[1 : len(tokens) - 1]
            words[row, 1 : len(tokens) - 1] = torch.tensor(numbers, dtype=torch.long)
        return ids.to(self.device), words.to(self.device)


def _rows(prompt: Tensor, hidden: Tensor) -> Tensor:
    """Return the prompt of each row: (n, width) or (B, n, width) -> (B, n, width)."""
    return prompt.to(hidden.dtype).expand(len(hidden), -1, -1)


def _unit(features: Tensor) -> Tensor:
    return normalize(features.float(), dim=-1)


def _length(prompts: Sequence[Tensor], width: int, tower: str) -> int:
    """Return the number of prompt tokens per layer; all layers must agree, and fit the tower."""
    sizes = {tuple(prompt.shape[-2:]) for prompt in prompts}
    if not sizes:
        return 0
    if len(sizes) > 1 or next(iter(sizes))[1] != width:
        raise ValueError(f"{tower} prompts are {sorted(sizes)}; they must all be (n, {width})")
    return next(iter(sizes))[0]


def _ends(tokenizer: Any, pooled_at: int, name: str) -> tuple[int, int]:
    """Return the ids of BOS and EOS after checking that the model pools at this tokenizer's EOS."""
    if not getattr(tokenizer, "is_fast", False):
        raise FdrdError(f"{name}: needs a fast tokenizer, to know which tokens form a word")
    ids = tokenizer("a")["input_ids"]
    # 2 is wrong in old configurations; transformers then pools at the largest id of a row.
    expected = len(tokenizer) - 1 if pooled_at == 2 else pooled_at
    if len(ids) < 3 or ids[-1] != expected:
        raise FdrdError(
            f"{name}: the tokenizer turns 'a' into {ids}, but the model needs BOS, the words and "
            f"EOS (id {expected}); give the tokenizer that the model was trained with"
        )
    return ids[0], ids[-1]


def _fingerprint(model: CLIPModel, tokenizer: Any, image_processor: Any) -> str:
    """Return a digest of weights, preprocessing and tokenizer.

    It does not cover anything that a loading function keeps outside `state_dict`.
    """
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    # The torchvision processor gives other pixels for the same settings.
    digest.update(type(image_processor).__name__.encode())
    settings = image_processor.to_dict()
    chosen = {key: settings.get(key) for key in _PREPROCESSING}
    digest.update(json.dumps(chosen, sort_keys=True, default=_plain).encode())
    coding = json.loads(tokenizer.backend_tokenizer.to_str())
    for transient in ("truncation", "padding"):  # set by every call
        coding.pop(transient, None)
    digest.update(json.dumps(coding, sort_keys=True).encode())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """Return enumerations and size objects of the image processor as JSON values."""
    return int(value) if isinstance(value, int) else dict(value)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
