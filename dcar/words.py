"""Feature of each word of a caption on its own, from the plain text tower."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmark import Backbone


class WordFeatures:
    """Features of words, each encoded once.

    Args:
        backbone: its plain text tower is used.
    """

    def __init__(self, backbone: Backbone):
        self.backbone = backbone
        self.found: dict[str, Tensor] = {}

    @torch.no_grad()
    def of(self, captions: Sequence[str], words: Tensor) -> Tensor:
        """Return (B, T, d), for each token the feature of its word; zeros where there is no word.

        Args:
            captions: B of them.
            words: (B, T) number of the word that a token belongs to, otherwise -1.
        """
        spelled = self.backbone.words(captions)
        new = dict.fromkeys(word for row in spelled for word in row if word not in self.found)
        if new:
            self.found.update(zip(new, self.backbone.encode_text(list(new)).pooled, strict=True))
        nothing = torch.zeros(self.backbone.dim, device=words.device)
        return torch.stack(
            [
                torch.stack([self.found[row[n]] if n >= 0 else nothing for n in numbers])
                for row, numbers in zip(spelled, words.tolist(), strict=True)
            ]
        )
