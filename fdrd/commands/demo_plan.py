"""What `fdrd demo` draws, and how each method is trained there: the one place to change it.

Every method has its default options, and all that train get the same epochs, batches, optimiser and rate. DCAR's
defaults had more trials than the others' (docs/results.md says how many). Whoever changes them chooses on the
validation split, never on the test split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Trained:
    """Options of one method, as `-M` and `-T` would set them."""

    options: Mapping[str, Any]
    train: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """Sizes of the data, and the methods in the order in which they run.

    Attributes:
        categories: fine categories that are drawn.
        pairs: images, each with its caption; a fifth of them is for test, a tenth for validation.
        methods: with what each is given beside `effort`.
        effort: what all methods that train have in common.
    """

    categories: int
    pairs: int
    methods: Mapping[str, Trained]
    effort: Mapping[str, Any]


PLAN = Plan(
    categories=36,
    pairs=2000,
    methods={
        "zero_shot": Trained({}, {}),
        "coop": Trained({}, {}),
        "maple": Trained({}, {}),
        "dcar": Trained({}, {}),
    },
    effort={"epochs": 4, "batch_size": 64, "optimiser": "adamw", "learning_rate": 0.002},
)
