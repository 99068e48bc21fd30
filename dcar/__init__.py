"""DCAR after figure 2 of arXiv 2508.04028; importing this package registers the method.

`dcar/README.md` says what is known, what was chosen and what was measured. Imports `benchmark` and `fdrd`.
"""

from dcar.category_loss import category_aware_loss
from dcar.method import DCAR, dcar, dcar_plus
from dcar.options import DCARConfig
from dcar.pair_scores import pair_scores
from dcar.token_weights import similarity_change, token_weights

__all__ = [
    "DCAR",
    "DCARConfig",
    "category_aware_loss",
    "dcar",
    "dcar_plus",
    "pair_scores",
    "similarity_change",
    "token_weights",
]
