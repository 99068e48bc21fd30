"""Compare image-text retrieval methods: run, compare, report, search, and what methods are written with.

    import benchmark

    benchmark.run("coop", "data/fdrd", results="runs")    # train and measure
    benchmark.compare("runs")                             # paired significance tests
    benchmark.report("runs")                              # Markdown
    benchmark.search("data/fdrd", "a red bird")           # records

Names are imported on first use, so `import benchmark` loads nothing heavy.
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.checkpoint import load_method
    from benchmark.dataset_search import Hit, search
    from benchmark.evaluation.base_to_new import CategoryList, read_categories
    from benchmark.experiments.execution import ExperimentOutcome, run_experiment
    from benchmark.experiments.plan import (
        Experiment,
        MethodRow,
        Protocols,
        read_experiment,
        to_experiment,
    )
    from benchmark.models.backbone import Backbone, Encoder, Features, Prompts
    from benchmark.models.clip import CLIPBackbone
    from benchmark.models.frozen_features import FrozenFeatures, default_cache
    from benchmark.models.image_batches import AnyImages, Images
    from benchmark.models.loading import default_backbone, load_backbone
    from benchmark.registry import (
        Method,
        distribute,
        get_method,
        load_plugin,
        method,
        method_names,
        method_options,
    )
    from benchmark.reporting.pages import markdown, report
    from benchmark.reporting.publishing import export_model, push
    from benchmark.reporting.records import to_csv, to_pandas
    from benchmark.reporting.significance import SignificanceTests, compare
    from benchmark.reporting.terminal import table
    from benchmark.result import (
        BenchResult,
        FitLog,
        RetrievalMetrics,
        read_result,
        read_results,
        to_json,
    )
    from benchmark.runner import RunRequest, open_backbone, run, run_each
    from benchmark.settings import Settings, TrainConfig
    from benchmark.train_context import TrainContext
    from benchmark.training.adapters import Adapter, AdapterForm
    from benchmark.training.collator import ClipCollator
    from benchmark.training.fine_tuning import FineTuned
    from benchmark.training.loop import Batch
    from benchmark.training.losses import LossDirection, PairLoss, info_nce
    from benchmark.training.prompt_learners import (
        ContextVectors,
        CoupledPrompts,
        Coupling,
        PromptMethod,
        VisualTokens,
    )
    from benchmark.training.trained_method import learn, pair_loss
    from benchmark.training.training_negatives import TrainingNegatives
    from fdrd.progress import Progress, silent

# The imports above are the only list of what the package exports.
_HOME = {
    alias.name: str(node.module)
    for node in ast.walk(ast.parse(Path(__file__).read_text(encoding="utf-8")))
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
    if str(node.module).startswith(("benchmark.", "fdrd."))
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
