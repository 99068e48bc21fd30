"""What `fdrd demo` draws, and how it trains each method.

All methods share optimizer and number of steps. All but DCAR share batch size and learning rate: its adapter
trains alone first, for 48 of the 72 steps, in batches of 256, and DCAR has a rate of its own, of which the adapter has
a fifth. Other options are defaults; DCAR's had more trials than the others' (see dcar/README.md).
Tune on the validation split only, never on the test split.
"""

from __future__ import annotations

from typing import NamedTuple

from benchmark.experiments.plan import Options
from benchmark.runner.description import Run


class DemoPlan(NamedTuple):
    """Numbers of categories and images, methods in the order in which they run, and training options of all."""

    categories: int
    pairs: int
    methods: list[str | Run]
    train: Options


PLAN = DemoPlan(
    categories=36,
    pairs=2000,
    methods=[
        "zero_shot",
        "coop",
        "maple",
        Run(
            method="clip_adapter",
            label="clip_adapter",
            options={"side": "both", "form": "residual", "ratio": 1.0, "reduction": 1},
        ),
        Run(
            method="dcar",
            label="dcar",
            options={"adapter_epochs": 8},
            train={"steps": 24, "learning_rate": 0.005},
        ),
    ],
    train={
        "steps": 72,
        "eval_every": 24,
        "batch_size": 64,
        "optimizer": "adamw",
        "learning_rate": 0.002,
    },
)
