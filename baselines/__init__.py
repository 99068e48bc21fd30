"""Baseline methods, one file each: a method has the name of its file.

Imports `benchmark` and `fdrd`. Others refer to a method by its registered name.

Arguments of all methods: `backbone` stays frozen, or is copied if its weights are trained; `train` has the training
settings; `seed` is that of whatever is drawn: initial values, negatives, samples, and the order of the rows.
"""

from pkgutil import iter_modules

METHODS = {module.name: f"{__name__}.{module.name}" for module in iter_modules(__path__)}
"""Module of each method."""

OTHER = {
    **dict.fromkeys(("clip", "baseline", "pretrained"), "zero_shot"),
    **dict.fromkeys(("fine_tune", "finetune", "finetuning", "fine_tuning"), "full"),
}
"""What others call a method."""
