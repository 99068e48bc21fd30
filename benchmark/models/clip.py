"""The `Backbone` around an unmodified model of CLIP or MetaCLIP 2, and batches of rows for training its model.

Towers and projections are called one by one instead of `get_text_features`, whose return type changed between
releases of `transformers`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from benchmark.models.backbone import Features, Prompts, text_prompts, vision_prompts
from benchmark.models.promptable import PromptableBackbone, fingerprint, read_out, unit
from fdrd.errors import FdrdError
from fdrd.images.pixels import upright_rgb

_PREPROCESSING = (
    *("do_convert_rgb", "do_resize", "size", "resample", "do_center_crop", "crop_size"),
    *("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std"),
)


class CLIPBackbone(PromptableBackbone):
    """A frozen CLIPModel or MetaClip2Model that takes prompts; arguments as `PromptableBackbone`.

    Images are pooled at a class token, captions at EOS. Captions longer than the context lose words, never EOS.
    """

    def _prepared(self) -> str:
        self.dim = self.model.config.projection_dim
        limit = self.model.config.text_config.max_position_embeddings
        self.context = min(self.tokenizer.model_max_length, limit)
        self.bos, self.eos = _ends(self.model, self.tokenizer, self.name)
        return fingerprint(self.model, self.tokenizer, self.image_processor, _PREPROCESSING)

    def encode_pixels(self, pixels: Tensor, prompts: Prompts, n_vis: int, tokens: bool) -> Features:
        """Return features of preprocessed images; visual tokens follow the patches."""
        tower = self.model.vision_model
        with vision_prompts(tower, prompts):
            out = tower(pixel_values=pixels)
        pooled = unit(self.model.visual_projection(out.pooler_output))
        if prompts.readout is not None:
            states = tower.post_layernorm(out.last_hidden_state[:, -n_vis:])
            return read_out(pooled, states, prompts.readout)
        if not tokens:
            return Features(pooled)
        hidden = out.last_hidden_state  # (B, 1 + P + n_vis, vision_width)
        patches = tower.post_layernorm(hidden[:, 1 : hidden.shape[1] - n_vis])
        return Features(pooled, unit(self.model.visual_projection(patches)))

    def encode_ids(self, ids: Tensor, prompts: Prompts, n_ctx: int, tokens: bool) -> Features:
        """Return features of tokenized captions; context vectors follow BOS."""
        tower = self.model.text_model
        # A slot holds BOS until the hook overwrites it. Any id works except EOS, where CLIP pools.
        slots = ids.new_full((len(ids), n_ctx), self.bos)
        with text_prompts(tower, prompts, n_ctx, start=1, causal=True):
            # No attention mask: the tower is causal, so nothing up to EOS attends to the padding.
            out = tower(input_ids=torch.cat([ids[:, :1], slots, ids[:, 1:]], dim=1))
        pooled = unit(self.model.text_projection(out.pooler_output))
        if not tokens:
            return Features(pooled)
        hidden = torch.cat([out.last_hidden_state[:, :1], out.last_hidden_state[:, 1 + n_ctx :]], 1)
        return Features(pooled, unit(self.model.text_projection(hidden)))

    def patches(self, pixels: Tensor, length: int) -> Tensor:
        """Return where the states of patches are: behind the class token."""
        return (torch.arange(length, device=pixels.device) > 0).expand(len(pixels), -1)

    def tokenize(self, captions: Sequence[str], longest: int) -> tuple[Tensor, Tensor]:
        """Return token ids padded with EOS, and where the captions' own tokens are."""
        coded = self.tokenizer(list(captions), truncation=True, max_length=longest)
        width = max(len(row) for row in coded["input_ids"])
        ids = torch.full((len(captions), width), self.eos)
        valid = torch.zeros((len(captions), width), dtype=torch.bool)
        for row, tokens in enumerate(coded["input_ids"]):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            valid[row, 1 : len(tokens) - 1] = True
        return ids, valid

    def lengths(self, ids: Tensor) -> Tensor:
        """Return numbers of tokens up to EOS."""
        return (ids != self.eos).sum(1) + 1


def _ends(model: Any, tokenizer: Any, name: str) -> tuple[int, int]:
    """Return the ids of BOS and EOS after checking that the model pools at this tokenizer's EOS."""
    ids = tokenizer("a")["input_ids"]
    expected = model.config.text_config.eos_token_id
    if expected == 2 and model.config.model_type == "clip":
        # Wrong in old configurations; transformers then pools at the largest id of a row.
        expected = len(tokenizer) - 1
    if len(ids) < 3 or ids[-1] != expected:
        raise FdrdError(
            f"{name}: the tokenizer turns 'a' into {ids}, but the model needs BOS, the words and "
            f"EOS (id {expected}); give the tokenizer that the model was trained with"
        )
    return ids[0], ids[-1]


@dataclass(frozen=True)
class ClipCollator:
    """A `collate_fn` for a `DataLoader` over rows, streamed or not, with PIL images or tensors.

    It gives what `CLIPModel` takes, with hard negatives on request:

        collate = ClipCollator.of(load_backbone("embedded"))
        for batch in DataLoader(load_dataset("fdrd", split="train"), 32, collate_fn=collate):
            loss = model(**batch, return_loss=True).loss

    Attributes:
        tokenizer: tokenizer of the CLIP; captions longer than `context` are truncated before EOS.
        image_processor: image processor of the CLIP.
        context: tokens that the text tower takes.
        negatives: hard negatives per row to include, K.
    """

    tokenizer: Any
    image_processor: Any
    context: int
    negatives: int = 0

    @classmethod
    def of(cls, backbone: CLIPBackbone, *, negatives: int = 0) -> ClipCollator:
        """Return a collator with the tokenizer and the preprocessing of a backbone."""
        return cls(backbone.tokenizer, backbone.image_processor, backbone.context, negatives)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Return a batch of B rows.

        Returns:
            `pixel_values` (B, 3, H, W), `input_ids` and `attention_mask` (B, T). With K negatives also
            `negative_input_ids` and `negative_attention_mask` (B, K, T'), and `negative_valid` (B, K),
            which is False if a row has fewer.
        """
        images = [_rgb(row["image"]) for row in rows]
        pixels = self.image_processor(images=images, return_tensors="pt")["pixel_values"]
        ids, mask = self._tokens([row["caption"] for row in rows])
        batch = {"pixel_values": pixels, "input_ids": ids, "attention_mask": mask}
        if not self.negatives:
            return batch
        padded: list[str] = []
        valid: list[list[bool]] = []
        for row in rows:
            captions = [negative["caption"] for negative in row["negatives"][: self.negatives]]
            missing = self.negatives - len(captions)
            padded += captions + [""] * missing
            valid.append([True] * len(captions) + [False] * missing)
        ids, mask = self._tokens(padded)
        shape = (len(rows), self.negatives, -1)
        return {
            **batch,
            "negative_input_ids": ids.reshape(shape),
            "negative_attention_mask": mask.reshape(shape),
            "negative_valid": torch.tensor(valid),
        }

    def _tokens(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Return ids and mask (B, T), as long as the longest caption."""
        coded = self.tokenizer(
            captions, truncation=True, max_length=self.context, padding=True, return_tensors="pt"
        )
        return coded["input_ids"], coded["attention_mask"]


def _rgb(image: Image.Image | Tensor) -> Image.Image:
    """Return the image as the benchmark sees it; `datasets` in torch format gives (C, H, W) tensors."""
    if isinstance(image, Tensor):
        image = Image.fromarray(image.permute(1, 2, 0).squeeze(2).numpy())
    return upright_rgb(image)
