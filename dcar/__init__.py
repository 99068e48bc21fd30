"""DCAR after figure 2 of arXiv 2508.04028; importing this package registers its methods.

`dcar/README.md` says what is known, what was chosen and what was measured. Imports `benchmark` and `fdrd`.
"""

from dcar.category_loss import category_aware_loss
from dcar.figure import DCARFigure, dcar_figure
from dcar.method import DCAR, dcar, dcar_plus
from dcar.options import DCARConfig
from dcar.token_weights import similarity_change, token_weights

__all__ = [
    "DCAR",
    "DCARConfig",
    "DCARFigure",
    "category_aware_loss",
    "dcar",
    "dcar_figure",
    "dcar_plus",
    "similarity_change",
    "token_weights",
]
