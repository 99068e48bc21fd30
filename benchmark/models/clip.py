"""The `Backbone` of an unmodified `transformers` CLIPModel.

The towers and projections are called one by one instead of `get_text_features`, whose return type
changed between releases. Sizes are read from the model.
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
from benchmark.models.image_batches import AnyImages, chosen, digests
from benchmark.models.model_copy import with_own_weights
from benchmark.models.pixel_cache import Pixels
from benchmark.models.processes import shared
from fdrd.errors import FdrdError

FEW = 16
"""Rows that a tower takes at a time on a CPU, where activations of more leave its cache."""

_PLAIN = Prompts()
_PREPROCESSING = (
    *("do_convert_rgb", "do_resize", "size", "resample", "do_center_crop", "crop_size"),
    *("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std"),
)


class CLIPBackbone:
    """A frozen CLIPModel that takes prompts; see `benchmark.models.backbone.Backbone` for the protocol.

    A tower that is given no prompts sees each item once: with `frozen`, its pooled features come
    from there, unless token features are asked for. Captions longer than the context lose words,
    never EOS.

    Args:
        model: is frozen and put into evaluation mode here; its code and weights stay as they are.
        tokenizer: a fast tokenizer that writes BOS first and EOS last.
        image_processor: pictures to `pixel_values`.
        name: what the user calls this backbone.
        frozen: where features of un-prompted towers are kept.
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
        self._few = sys.maxsize
        if self.device.type == "cpu":
            self._few = FEW
            # Captions are short, and the fused kernel is slower than its parts.
            self.model.set_attn_implementation("eager")
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self._pixels = Pixels(image_processor)
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
        """A backbone with weights of its own that take gradients; nothing of it is cached.

        Raises:
            FdrdError: the model holds something that cannot be copied.
        """
        try:
            model = with_own_weights(self.model)
        except (TypeError, RuntimeError) as error:
            raise FdrdError(
                f"backbone {self.name!r} cannot be copied, as fine-tuning asks ({error}); give its "
                f"modules a __deepcopy__, or choose a method that leaves the backbone frozen"
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
        """Features of B images."""
        if self.frozen is None or prompts.vision or tokens:
            return shared(len(images), lambda rows: self._look(images[rows], prompts[rows], tokens))
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            pooled = self.frozen.get(
                self.fingerprint,
                "image",
                digests(images),
                lambda rows: self._look(chosen(images, rows), prompts, False).pooled,
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
        """Features of B captions, cut so that `reserve` slots of the context stay free."""
        prompted = len(prompts.text) > 0 or prompts.word_weights is not None
        room = self._context - max(_length(prompts.text, self.text_width, "text"), reserve)
        if self.frozen is None or prompted or tokens:
            ids, words = self._tokenise(captions, room)  # (B, T) each
            read = shared(len(ids), lambda rows: self._read(ids[rows], prompts[rows], tokens))
            return (
                dataclasses.replace(read, valid=words >= 0, token_ids=ids, words=words)
                if tokens
                else read
            )
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            pooled = self.frozen.get(
                self.fingerprint,
                "text",
                [_digest(f"{reserve}\n{caption}".encode()) for caption in captions],
                lambda rows: (
                    self._read(
                        self._tokenise([captions[row] for row in rows], room)[0], prompts, False
                    ).pooled
                ),
            )
        return Features(pooled.to(self.device))

    def words(self, captions: Sequence[str]) -> list[list[str]]:
        """The words of each caption, by the numbers that `Features.words` gives them."""
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
        """(n, text_width) input embeddings of the tokens of some words."""
        ids = self.tokenizer(words, add_special_tokens=False)["input_ids"]
        weight: Tensor = self.model.text_model.embeddings.token_embedding.weight
        return (
            weight[torch.tensor(ids, dtype=torch.long, device=self.device)].detach().float().clone()
        )

    def _look(self, images: AnyImages, prompts: Prompts, tokens: bool) -> Features:
        pixels = self._pixels.of(images)
        return in_chunks(
            len(pixels), lambda rows: self._look_at_few(pixels[rows], prompts[rows], tokens)
        )

    def _look_at_few(self, pixels: Tensor, prompts: Prompts, tokens: bool) -> Features:
        parts = [slice(start, start + self._few) for start in range(0, len(pixels), self._few)]
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

    def _read(self, ids: Tensor, prompts: Prompts, tokens: bool) -> Features:
        read = self._text_tower if tokens else self._read_by_length
        return in_chunks(len(ids), lambda rows: read(ids[rows], prompts[rows], tokens))

    def _read_by_length(self, ids: Tensor, prompts: Prompts, tokens: bool) -> Features:
        """Like beside like: read together, short captions would be padded to the longest."""
        length = (ids != self._eos).sum(1) + 1
        order = length.argsort(stable=True)
        pooled = []
        for start in range(0, len(ids), self._few):
            rows = order[start : start + self._few]
            width, some = int(length[rows].max()), prompts[rows]
            weights = some.word_weights
            if weights is not None and weights.shape[1] == ids.shape[1]:  # others are refused below
                some = dataclasses.replace(some, word_weights=weights[:, :width])
            pooled.append(self._text_tower(ids[rows, :width], some, tokens).pooled)
        return Features(torch.cat(pooled)[order.argsort()])

    def _text_tower(self, ids: Tensor, prompts: Prompts, tokens: bool) -> Features:
        tower = self.model.text_model
        embed = tower.embeddings.token_embedding
        n_ctx = _length(prompts.text, self.text_width, "text")
        # A slot holds BOS until the hook overwrites it: any id would do but EOS, where CLIP pools.
        slots = ids.new_full((len(ids), n_ctx), self._bos)

        def write(hidden: Tensor, prompt: Tensor) -> Tensor:
            return torch.cat([hidden[:, :1], _rows(prompt, hidden), hidden[:, 1 + n_ctx :]], dim=1)

        with (
            weigh_words(embed, prompts.word_weights, n_ctx),
            inject(embed, tower.encoder.layers, prompts.text, write, write),
        ):
            # No attention mask: the tower is causal, so nothing up to EOS sees the padding.
            out = tower(input_ids=torch.cat([ids[:, :1], slots, ids[:, 1:]], dim=1))
        pooled = _unit(self.model.text_projection(out.pooler_output))
        if not tokens:
            return Features(pooled)
        hidden = torch.cat([out.last_hidden_state[:, :1], out.last_hidden_state[:, 1 + n_ctx :]], 1)
        return Features(pooled, _unit(self.model.text_projection(hidden)))

    def _tokenise(self, captions: Sequence[str], longest: int) -> tuple[Tensor, Tensor]:
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
    """The prompt once per row: (n, width) or (B, n, width) -> (B, n, width)."""
    return prompt.to(hidden.dtype).expand(len(hidden), -1, -1)


def _unit(features: Tensor) -> Tensor:
    return normalize(features.float(), dim=-1)


def _length(prompts: Sequence[Tensor], width: int, tower: str) -> int:
    """How many prompt tokens each layer gets; all must agree, with each other and the tower."""
    sizes = {tuple(prompt.shape[-2:]) for prompt in prompts}
    if not sizes:
        return 0
    if len(sizes) > 1 or next(iter(sizes))[1] != width:
        raise ValueError(f"{tower} prompts are {sorted(sizes)}; they must all be (n, {width})")
    return next(iter(sizes))[0]


def _ends(tokenizer: Any, pooled_at: int, name: str) -> tuple[int, int]:
    """The ids of BOS and EOS, after checking that the model will pool where this tokenizer ends."""
    if not getattr(tokenizer, "is_fast", False):
        raise FdrdError(f"{name}: the tokenizer is no fast one, so its words cannot be told apart")
    ids = tokenizer("a")["input_ids"]
    # 2 is a mistake of old configurations; transformers then pools at the greatest id of a row.
    expected = len(tokenizer) - 1 if pooled_at == 2 else pooled_at
    if len(ids) < 3 or ids[-1] != expected:
        raise FdrdError(
            f"{name}: the tokenizer turns 'a' into {ids}, but the model wants BOS, the words and "
            f"EOS (id {expected}); give the tokenizer that the model was trained with"
        )
    return ids[0], ids[-1]


def _fingerprint(model: CLIPModel, tokenizer: Any, image_processor: Any) -> str:
    """Digest of weights, preprocessing and tokenizer.

    What a loading function hides outside `state_dict` is not seen.
    """
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    # The same settings give other pixels in the processor that torchvision runs.
    digest.update(type(image_processor).__name__.encode())
    settings = image_processor.to_dict()
    chosen = {key: settings.get(key) for key in _PREPROCESSING}
    digest.update(json.dumps(chosen, sort_keys=True, default=_plain).encode())
    coding = json.loads(tokenizer.backend_tokenizer.to_str())
    for transient in ("truncation", "padding"):  # set anew by every call
        coding.pop(transient, None)
    digest.update(json.dumps(coding, sort_keys=True).encode())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """Enumerations and size objects of the image processor as JSON."""
    return int(value) if isinstance(value, int) else dict(value)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
