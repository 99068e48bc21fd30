"""DCAR after figure 2 of arXiv 2508.04028.

`dcar/README.md` says what is known, what was chosen and what was measured. Imports `benchmark` and `fdrd`.
"""

from typing import TYPE_CHECKING

from fdrd.imports import lazy_exports

if TYPE_CHECKING:
    from dcar.category_loss import category_aware_loss
    from dcar.figure import DCARFigure, dcar_figure
    from dcar.method import DCAR, dcar
    from dcar.options import DCARConfig
    from dcar.plus import DCARPlus, DCARPlusConfig, dcar_plus
    from dcar.token_weights import similarity_change, token_weights
    from dcar.tuned import DCARTuned, dcar_tuned

METHODS = {
    "dcar": "dcar.method",
    "dcar_plus": "dcar.plus",
    "dcar_figure": "dcar.figure",
    "dcar_tuned": "dcar.tuned",
}
"""Module of each method."""

__all__, __getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "dcar.category_loss": "category_aware_loss",
        "dcar.figure": "DCARFigure dcar_figure",
        "dcar.method": "DCAR dcar",
        "dcar.options": "DCARConfig",
        "dcar.plus": "DCARPlus DCARPlusConfig dcar_plus",
        "dcar.token_weights": "similarity_change token_weights",
        "dcar.tuned": "DCARTuned dcar_tuned",
    },
)
