"""Options of DCAR as groups, for `-M preset=NAME`; options that a user gives come on top."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

Preset: TypeAlias = Literal["default", "maple", "figure"]

MAPLE_DEPTH = 9
"""Layers with prompts in MaPLe, from whose code DCAR probably descends."""

_VERSION_0_1: dict[str, Any] = {
    "depth": -1,
    "beta": 0.5,
    "n_negatives": 4,
    "n_attribute": 0,
    "alpha": 0.5,
    "category_mode": "log_add",
    "category_candidates": "train",
    "category_symmetric": True,
    "adapter": "residual",
    "adapter_reduction": 1.0,
    "adapter_epochs": 20,
    "adapter_batch": 0,
    "late_prompts": False,
    "gamma": 4.0,
    "plain_image": False,
    "learn_gamma": False,
    "contrast": "prompted",
    "pair_weight": 0.0,
}

_FIGURE: dict[str, Any] = {
    **_VERSION_0_1,
    "depth": 1,
    "n_attribute": 2,
    "category_candidates": "own",
    "category_symmetric": False,
    "adapter_epochs": 0,
    "gamma": 0.0,
}

PRESETS: Mapping[Preset, Mapping[str, Any]] = {
    "default": {},
    "maple": _VERSION_0_1,
    "figure": _FIGURE,
}
"""Options that differ from the defaults of `DCARConfig`.

`maple` holds the defaults of version 0.1, whose checkpoints name it; `figure` is figure 2 as drawn, where it shows
a choice.
"""
