"""Compare image-text retrieval methods: run, compare, report, search, and what methods are written with.

    import benchmark

    res = benchmark.evaluate(["zero_shot", "coop"], "data/birds", seeds=3, epochs=5, results="runs")
    res["coop"].mrr                                 # mean over seeds
    res.compare("zero_shot")                        # paired significance tests
    res.report("report.html")
    benchmark.search("data/birds", "a red bird")    # records

Names are imported on first use, so `import benchmark` loads nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdrd.imports import lazy_exports

if TYPE_CHECKING:
    from benchmark.checkpoint import load_method
    from benchmark.dataset_search import Hit, search
    from benchmark.experiments.execution import run_experiment
    from benchmark.experiments.plan import (
        Experiment,
        Protocols,
        read_experiment,
        to_experiment,
    )
    from benchmark.models.backbone import Backbone, Encoder, Features, Prompts
    from benchmark.models.clip import CLIPBackbone, ClipCollator
    from benchmark.models.frozen_features import FrozenFeatures, default_cache
    from benchmark.models.image_batches import AnyImages, Images
    from benchmark.models.loading import default_backbone, load_backbone
    from benchmark.registry import (
        Method,
        TrainContext,
        get_method,
        load_plugin,
        method,
        method_names,
        method_options,
    )
    from benchmark.reporting.pages import markdown, report, table, to_csv, to_pandas
    from benchmark.reporting.publishing import export_model, push
    from benchmark.result import (
        BenchResult,
        FitLog,
        read_result,
        read_results,
    )
    from benchmark.results import MethodResults, Plots, Results, SignificanceTests, compare
    from benchmark.runner.description import Resources, Run
    from benchmark.runner.plan import open_backbone
    from benchmark.runner.runs import evaluate, execute
    from benchmark.settings import LossDirection, PairLoss, Settings, TrainConfig
    from benchmark.training.learners import (
        Adapter,
        ContextVectors,
        CoupledPrompts,
        Coupling,
        PromptMethod,
        VisualTokens,
    )
    from benchmark.training.loop import Batch
    from benchmark.training.losses import info_nce
    from benchmark.training.row_selection import CategoryList, read_categories
    from benchmark.training.trained_method import FineTuned, learn, pair_loss
    from benchmark.training.training_negatives import TrainingNegatives


__all__, __getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "benchmark.checkpoint": "load_method",
        "benchmark.dataset_search": "Hit search",
        "benchmark.training.row_selection": "CategoryList read_categories",
        "benchmark.experiments.execution": "run_experiment",
        "benchmark.experiments.plan": "Experiment Protocols read_experiment to_experiment",
        "benchmark.models.backbone": "Backbone Encoder Features Prompts",
        "benchmark.models.clip": "CLIPBackbone ClipCollator",
        "benchmark.models.frozen_features": "FrozenFeatures default_cache",
        "benchmark.models.image_batches": "AnyImages Images",
        "benchmark.models.loading": "default_backbone load_backbone",
        "benchmark.registry": "Method TrainContext get_method load_plugin method method_names method_options",
        "benchmark.reporting.pages": "markdown report table to_csv to_pandas",
        "benchmark.reporting.publishing": "export_model push",
        "benchmark.result": "BenchResult FitLog read_result read_results",
        "benchmark.results": "MethodResults Plots Results SignificanceTests compare",
        "benchmark.runner.description": "Resources Run",
        "benchmark.runner.plan": "open_backbone",
        "benchmark.runner.runs": "evaluate execute",
        "benchmark.settings": "LossDirection PairLoss Settings TrainConfig",
        "benchmark.training.loop": "Batch",
        "benchmark.training.losses": "info_nce",
        "benchmark.training.learners": "Adapter ContextVectors CoupledPrompts Coupling PromptMethod VisualTokens",
        "benchmark.training.trained_method": "FineTuned learn pair_loss",
        "benchmark.training.training_negatives": "TrainingNegatives",
    },
)
