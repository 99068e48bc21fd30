"""Variants for `fdrd bench --ablate dcar`: parts added one by one, then removed one by one."""

from __future__ import annotations

from typing import Any

VARIANTS: dict[str, dict[str, Any]] = {
    "as drawn in figure 2": {"preset": "figure"},
    "prompts": {"beta": 0.0, "lambda_cate": 0.0, "gamma": 0.0},
    "prompts + token weights": {"lambda_cate": 0.0, "gamma": 0.0},
    "prompts + category loss": {"beta": 0.0, "epsilon": 0.0, "gamma": 0.0},
    "prompts + category loss + matching weight": {"beta": 0.0, "gamma": 0.0},
    "whole, prompted feature scored alone": {"gamma": 0.0},
    "whole": {},
    "whole without token weights": {"beta": 0.0},
    "whole without category loss": {"lambda_cate": 0.0},
    "whole without matching weight": {"epsilon": 0.0},
    "whole without adapter": {"adapter": "identity"},
    "whole without prompts": {"depth": 0, "beta": 0.0},
    "whole with one image feature": {"plain_image": False, "gamma": 16.0},
    "whole, contrastive loss of the prompted feature": {"contrast": "prompted"},
    "whole with weights per pair": {"pair_weight": 1.0},
    "whole with isolated weights in the attention": {
        "weight_token": "isolated",
        "weight_place": "attention",
        "test_weights": "token_mean",
        "train_weights": "as_tested",
    },
    "whole with the matching weight in the softmax": {"category_mode": "log_add"},
    "whole with margins": {"category_mode": "margin", "epsilon": 0.02},
    "whole with both kinds of negatives": {"n_attribute": 2},
    "whole with attribute negatives only": {"n_attribute": 4},
    "whole without negatives": {"n_negatives": 0, "n_attribute": 0},
    "whole, adapter and prompts from the start": {"adapter_epochs": 0},
    "whole, candidates of the batch": {"category_candidates": "in_batch"},
    "whole, own candidates, one direction": {
        "category_candidates": "own",
        "category_symmetric": False,
    },
}
"""Options that differ from the defaults, by the name that tables show."""
