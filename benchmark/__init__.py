"""Compare image-text retrieval methods: models with prompts, training, metrics, results.

Names are imported when they are first used, so that `import benchmark` is instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.dataset_search import Hit, search, search_data
    from benchmark.evaluation.base_to_new import CategoryList, read_categories
    from benchmark.evaluation.metrics import RetrievalMetrics
    from benchmark.models.backbone import Backbone, Features, Prompts
    from benchmark.models.clip import CLIPBackbone
    from benchmark.models.frozen_features import FrozenFeatures, default_cache
    from benchmark.models.image_batches import AnyImages, Images
    from benchmark.models.loading import default_backbone, load_backbone
    from benchmark.registry import (
        FitLog,
        Method,
        distribute,
        get_method,
        load_plugin,
        method,
        method_names,
        method_options,
    )
    from benchmark.reporting.markdown_report import markdown
    from benchmark.reporting.publishing import push
    from benchmark.reporting.terminal_tables import table
    from benchmark.result import BenchResult, read_result, read_results, to_json
    from benchmark.runner import open_backbone, run, run_each
    from benchmark.trained import load_method
    from benchmark.training.adapters import Adapter, AdapterForm
    from benchmark.training.collator import ClipCollator
    from benchmark.training.fine_tuning import FineTuned
    from benchmark.training.learning import learn, pair_loss
    from benchmark.training.loop import Batch, TrainConfig
    from benchmark.training.losses import LossDirection, info_nce
    from benchmark.training.prompt_learners import (
        ContextVectors,
        CoupledPrompts,
        Coupling,
        PromptMethod,
        VisualTokens,
    )
    from benchmark.training.training_negatives import TrainingNegatives
    from fdrd.progress import Progress, silent

_HOMES = {
    "benchmark.dataset_search": (
        "Hit",
        "search",
        "search_data",
    ),
    "benchmark.evaluation.base_to_new": (
        "CategoryList",
        "read_categories",
    ),
    "benchmark.evaluation.metrics": ("RetrievalMetrics",),
    "benchmark.models.backbone": (
        "Backbone",
        "Features",
        "Prompts",
    ),
    "benchmark.models.clip": ("CLIPBackbone",),
    "benchmark.models.frozen_features": (
        "FrozenFeatures",
        "default_cache",
    ),
    "benchmark.models.image_batches": (
        "AnyImages",
        "Images",
    ),
    "benchmark.models.loading": (
        "default_backbone",
        "load_backbone",
    ),
    "benchmark.registry": (
        "FitLog",
        "Method",
        "distribute",
        "get_method",
        "load_plugin",
        "method",
        "method_names",
        "method_options",
    ),
    "benchmark.reporting.markdown_report": ("markdown",),
    "benchmark.reporting.publishing": ("push",),
    "benchmark.reporting.terminal_tables": ("table",),
    "benchmark.result": (
        "BenchResult",
        "read_result",
        "read_results",
        "to_json",
    ),
    "benchmark.runner": (
        "open_backbone",
        "run",
        "run_each",
    ),
    "benchmark.trained": ("load_method",),
    "benchmark.training.adapters": (
        "Adapter",
        "AdapterForm",
    ),
    "benchmark.training.collator": ("ClipCollator",),
    "benchmark.training.fine_tuning": ("FineTuned",),
    "benchmark.training.learning": (
        "learn",
        "pair_loss",
    ),
    "benchmark.training.loop": (
        "Batch",
        "TrainConfig",
    ),
    "benchmark.training.losses": (
        "LossDirection",
        "info_nce",
    ),
    "benchmark.training.prompt_learners": (
        "ContextVectors",
        "CoupledPrompts",
        "Coupling",
        "PromptMethod",
        "VisualTokens",
    ),
    "benchmark.training.training_negatives": ("TrainingNegatives",),
    "fdrd.progress": (
        "Progress",
        "silent",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Adapter",
    "AdapterForm",
    "AnyImages",
    "Backbone",
    "Batch",
    "BenchResult",
    "CLIPBackbone",
    "CategoryList",
    "ClipCollator",
    "ContextVectors",
    "CoupledPrompts",
    "Coupling",
    "Features",
    "FineTuned",
    "FitLog",
    "FrozenFeatures",
    "Hit",
    "Images",
    "LossDirection",
    "Method",
    "Progress",
    "PromptMethod",
    "Prompts",
    "RetrievalMetrics",
    "TrainConfig",
    "TrainingNegatives",
    "VisualTokens",
    "default_backbone",
    "default_cache",
    "distribute",
    "get_method",
    "info_nce",
    "learn",
    "load_backbone",
    "load_method",
    "load_plugin",
    "markdown",
    "method",
    "method_names",
    "method_options",
    "open_backbone",
    "pair_loss",
    "push",
    "read_categories",
    "read_result",
    "read_results",
    "run",
    "run_each",
    "search",
    "search_data",
    "silent",
    "table",
    "to_json",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value  # the next access is a plain one
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
