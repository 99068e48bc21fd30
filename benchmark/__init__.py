"""What all methods share, and the measuring: towers with prompts, training, metrics, results."""

from benchmark.adapter import Adapter, AdapterForm
from benchmark.backbone import Backbone, Features, Prompts
from benchmark.categories import CategoryList, read_categories
from benchmark.clip import CLIPBackbone
from benchmark.collating import ClipCollator
from benchmark.fine_tuning import FineTuned
from benchmark.frozen import FrozenFeatures, default_cache
from benchmark.hits import Hit, search, search_data
from benchmark.images import AnyImages, Images
from benchmark.learning import learn, pair_loss
from benchmark.loading import default_backbone, load_backbone
from benchmark.losses import LossDirection, info_nce
from benchmark.method import (
    Method,
    distribute,
    get_method,
    load_plugin,
    method,
    method_names,
    method_options,
)
from benchmark.metrics import RetrievalMetrics
from benchmark.prompting import (
    ContextVectors,
    CoupledPrompts,
    Coupling,
    PromptMethod,
    VisualTokens,
)
from benchmark.report import markdown
from benchmark.result import BenchResult, read_result, read_results, to_json
from benchmark.run import open_backbone, run, run_each
from benchmark.terminal import table
from benchmark.trained import load_method
from benchmark.training import Batch, FitLog, TrainConfig
from benchmark.training_negatives import TrainingNegatives
from fdrd.progress import Progress, silent

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
