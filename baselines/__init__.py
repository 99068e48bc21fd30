"""Baseline methods, one file each: a method has the name of its file.

Imports `benchmark` and `fdrd`. Others refer to a method by its registered name.
"""

from pkgutil import iter_modules

METHODS = {module.name: f"{__name__}.{module.name}" for module in iter_modules(__path__)}
"""Module of each method."""

OTHER = {
    **dict.fromkeys(("clip", "baseline", "pretrained"), "zero_shot"),
    **dict.fromkeys(("fine_tune", "finetune", "finetuning", "fine_tuning"), "full"),
}
"""What others call a method."""
