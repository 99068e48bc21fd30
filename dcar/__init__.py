"""DCAR (arXiv 2508.04028), after its figure 2: importing this package registers the method.

What is known of it, what was chosen and what was measured: `dcar/README.md`.
"""

from dcar.category_loss import category_aware_loss
from dcar.method import DCAR, DCARConfig, dcar
from dcar.token_weights import similarity_change, token_weights

__all__ = [
    "DCAR",
    "DCARConfig",
    "category_aware_loss",
    "dcar",
    "similarity_change",
    "token_weights",
]
