"""What `fdrd demo` draws, and how it trains each method.

All methods share optimizer and number of steps, and all but the two of DCAR share batch size and learning rate. The
adapter of `dcar` trains alone first, for 30 of the 48 steps, in batches of 256, at a fifth of its rate. `dcar_plus`
starts from a closed form, and trains in batches of 256 at its default rate. Other options are defaults; those of DCAR
had more trials than the others' (see dcar/README.md).
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
            options={"adapter_epochs": 5},
            train={"steps": 18, "learning_rate": 0.005},
        ),
        Run(
            method="dcar_plus",
            label="dcar_plus",
            train={"batch_size": 256, "learning_rate": 0.00025},
        ),
    ],
    train={
        "steps": 48,
        "eval_every": 16,
        "batch_size": 48,
        "optimizer": "adamw",
        "learning_rate": 0.002,
    },
)
