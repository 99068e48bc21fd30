"""The `Backbone` around a model of SigLIP (arXiv 2303.15343) or SigLIP 2 (arXiv 2502.14786).

Unlike CLIP there is no BOS and no class token. Captions are lower-cased and padded to the whole context, attention
is bidirectional, and the last position is pooled, even if it is padding. Images are pooled by an attention head.
Checkpoints of fixed resolution are a `SiglipModel`, also those of SigLIP 2. NaFlex checkpoints, which keep the
aspect ratio, are a `Siglip2Model`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Unpack

import torch
from torch import Tensor

from benchmark.models.backbone import (
    TOKENS,
    EncoderSetup,
    Features,
    Prompts,
    first_layer,
    text_prompts,
    vision_prompts,
)
from benchmark.models.promptable import PromptableBackbone, fingerprint, read_out, unit
from fdrd.errors import FdrdError

_PREPROCESSING = (
    *("do_convert_rgb", "do_resize", "size", "resample", "do_rescale", "rescale_factor"),
    *("do_normalize", "image_mean", "image_std", "max_num_patches", "patch_size"),
)
_RULES = "lower case, padded to the context"


class SiglipBackbone(PromptableBackbone):
    """A frozen SiglipModel or Siglip2Model that takes prompts; arguments as `PromptableBackbone`.

    Images are pooled by an attention head over patches, captions at the last position of a bidirectional tower. With
    `pool=patches`, the head ignores visual tokens, so that they only act through the layers.
    """

    supported = ("precision", "pool", "compile")

    def __init__(
        self, model: Any, tokenizer: Any, image_processor: Any, **setup: Unpack[EncoderSetup]
    ):
        if not getattr(model.config.vision_config, "vision_use_head", True):
            name = setup["name"]
            raise FdrdError(f"{name}: has no attention head, so its images cannot be pooled")
        if model.config.model_type == "siglip2":
            self.can = self.can - {TOKENS}
            if not isinstance(image_processor, NaFlexProcessor):
                image_processor = NaFlexProcessor(image_processor)
        super().__init__(model, tokenizer, image_processor, **setup)

    def _prepared(self) -> str:
        text = self.model.config.text_config
        self.dim = text.projection_size
        self.context = min(self.tokenizer.model_max_length, text.max_position_embeddings)
        self.logit_bias = float(self.model.logit_bias.detach().float())
        self._masked = "attention_mask" in self.tokenizer.model_input_names
        hidden = "" if self.options.pool == "all" else ", visual tokens are not pooled"
        parts = self.model, self.tokenizer, self.image_processor
        return fingerprint(*parts, _PREPROCESSING, _RULES + hidden)

    def encode_pixels(self, pixels: Tensor, prompts: Prompts, n_vis: int, tokens: bool) -> Features:
        """Return features of preprocessed images; visual tokens follow the patches."""
        tower = self.model.vision_model
        inputs: dict[str, Tensor] = {"pixel_values": pixels}
        if pixels.dim() == 3:  # patches of a NaFlex image, and a last row with their numbers
            shapes = pixels[:, -1, :2].round().long()
            inputs = {"pixel_values": pixels[:, :-1], "spatial_shapes": shapes}
            mask = self.patches(pixels, pixels.shape[1] - 1 + n_vis)
            mask[:, pixels.shape[1] - 1 :] = True
            inputs["pixel_attention_mask"] = mask.long()
            if tokens or first_layer(prompts.vision):
                raise FdrdError(
                    "NaFlex images differ in their number of patches: no patch features, and visual "
                    "tokens only from the first layer"
                )
        with (
            vision_prompts(tower, prompts),
            _without_last(tower.head, 0 if self.options.pool == "all" else n_vis),
        ):
            out = tower(**inputs)
        pooled = unit(out.pooler_output)
        if prompts.readout is not None:
            return read_out(pooled, out.last_hidden_state[:, -n_vis:], prompts.readout)
        if not tokens:
            return Features(pooled)
        hidden = out.last_hidden_state[:, : out.last_hidden_state.shape[1] - n_vis]
        alone = tower.head(hidden.flatten(0, 1)[:, None])  # each patch pooled on its own
        return Features(pooled, unit(alone.view(len(hidden), -1, self.dim)))

    def encode_ids(self, ids: Tensor, prompts: Prompts, n_ctx: int, tokens: bool) -> Features:
        """Return features of tokenized captions; context vectors come first."""
        tower = self.model.text_model
        slots = ids[:, :1].expand(-1, n_ctx)  # any id, the hook overwrites it
        every = torch.cat([slots, ids], dim=1)
        mask = None
        if self._masked:
            mask = torch.cat([torch.ones_like(slots), self._real(ids).long()], dim=1)
        with text_prompts(tower, prompts, n_ctx, start=0, causal=False):
            out = tower(input_ids=every, attention_mask=mask)
        pooled = unit(out.pooler_output)
        if not tokens:
            return Features(pooled)
        return Features(pooled, unit(tower.head(out.last_hidden_state[:, n_ctx:])))

    def patches(self, pixels: Tensor, length: int) -> Tensor:
        """Return where the states of patches are: everywhere, but for the padding of a NaFlex image."""
        count = pixels.new_full((len(pixels), 1), length)
        if pixels.dim() == 3:
            count = pixels[:, -1, :2].round().prod(1, keepdim=True)
        return torch.arange(length, device=pixels.device) < count

    def tokenize(self, captions: Sequence[str], longest: int) -> tuple[Tensor, Tensor]:
        """Return ids of lower-cased captions padded to `longest`, and where the captions' own tokens are."""
        coded = self.tokenizer(
            [caption.lower() for caption in captions],
            padding="max_length",
            truncation=True,
            max_length=longest,
            return_special_tokens_mask=True,
        )
        special = torch.tensor(coded["special_tokens_mask"], dtype=torch.bool)
        return torch.tensor(coded["input_ids"]), ~special

    def lengths(self, ids: Tensor) -> Tensor:
        """Return numbers of tokens; all captions have the same."""
        return ids.new_full((len(ids),), ids.shape[1])

    def _real(self, ids: Tensor) -> Tensor:
        """Return which tokens are not padding."""
        pad, eos = self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        real: Tensor = ids != pad
        if pad == eos:  # the first EOS is real
            real = real | ((ids == eos).cumsum(1) == 1)
        return real


class NaFlexProcessor:
    """Image processor of NaFlex models that returns one tensor per image.

    Each image is (patches + 1, values). The last row holds the numbers of patches in height and width.
    """

    def __init__(self, processor: Any):
        self.processor = processor

    def __call__(self, images: Any, **options: Any) -> dict[str, Tensor]:
        """Return `pixel_values` of the images."""
        found = self.processor(images=images, **options)
        pixels, shapes = found["pixel_values"], found["spatial_shapes"]
        last = pixels.new_zeros(len(pixels), 1, pixels.shape[2])
        last[:, 0, :2] = shapes.to(pixels.dtype)
        return {"pixel_values": torch.cat([pixels, last], dim=1)}

    def to_dict(self) -> dict[str, Any]:
        """Return the settings."""
        settings: dict[str, Any] = self.processor.to_dict()
        return settings

    def save_pretrained(self, folder: str) -> None:
        """Write the settings as `transformers` reads them."""
        self.processor.save_pretrained(folder)


@contextmanager
def _without_last(head: Any, count: int) -> Iterator[None]:
    """Hide the last tokens, and their mask, from an attention head."""

    def shorten(_module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(None if each is None else each[:, : each.shape[1] - count] for each in args)

    with head.register_forward_pre_hook(shorten) if count else nullcontext():
        yield
