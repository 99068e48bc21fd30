"""Batches for training a CLIP from dataset rows: what `CLIPModel` takes, with hard negatives on request.

from torch.utils.data import DataLoader
collate = ClipCollator.of(load_backbone("embedded"))
for batch in DataLoader(load_dataset("fdrd", split="train"), 32, collate_fn=collate):
    loss = model(**batch, return_loss=True).loss
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from benchmark.models.clip import CLIPBackbone
from fdrd.images.pixels import upright_rgb


@dataclass(frozen=True)
class ClipCollator:
    """A `collate_fn` for a `DataLoader` over rows, streamed or not, with PIL images or tensors.

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
        return cls(
            backbone.tokenizer,
            backbone.image_processor,
            min(
                backbone.tokenizer.model_max_length,
                backbone.model.config.text_config.max_position_embeddings,
            ),
            negatives,
        )

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
        batch: dict[str, Tensor] = {
            "pixel_values": pixels,
            "input_ids": ids,
            "attention_mask": mask,
        }
        if not self.negatives:
            return batch
        captions = [
            [each["caption"] for each in row["negatives"][: self.negatives]] for row in rows
        ]
        padded = [
            caption
            for each in captions
            for caption in (each + [""] * self.negatives)[: self.negatives]
        ]
        ids, mask = self._tokens(padded)
        shape = (len(rows), self.negatives, -1)
        valid = [[place < len(each) for place in range(self.negatives)] for each in captions]
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
