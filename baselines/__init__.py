"""Baseline methods, one file each: a method has the name of its file.

Imports `benchmark` and `fdrd`. Others refer to a method by its registered name.
Arguments that a method does not document are these.

Args:
    backbone: stays frozen, or is copied if its weights are trained.
    train: training settings.
    seed: seed of whatever is drawn: initial values, negatives, samples, and the order of the rows.
    loss: symmetric, one direction only, or the sigmoid loss of SigLIP.
    n_ctx: context vectors.
    ctx_init: words whose first n_ctx tokens the first layer of context starts from; otherwise random.
    depth: layers of both towers with prompts; -1 is MaPLe's 9, or all if there are fewer.
    coupling: linear as in MaPLe, a small mlp, or independent visual tokens.
    ratio: share of the learned part in the result.
    n_negatives: negatives of each caption, K.
    n_attribute: how many of them swap an attribute, the others the category.
"""

from pkgutil import iter_modules

METHODS = {module.name: f"{__name__}.{module.name}" for module in iter_modules(__path__)}
"""Module of each method."""

OTHER = {
    **dict.fromkeys(("clip", "baseline", "pretrained"), "zero_shot"),
    **dict.fromkeys(("fine_tune", "finetune", "finetuning", "fine_tuning"), "full"),
}
"""What others call a method."""
