"""What all methods share, and the measuring: towers with prompts, training, metrics, results."""

from benchmark.backbone import Backbone, Features, Prompts
from benchmark.clip import CLIPBackbone
from benchmark.frozen import FrozenFeatures, default_cache
from benchmark.images import AnyImages, Images
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
from benchmark.prompting import ContextVectors, PromptMethod
from benchmark.report import markdown, table
from benchmark.result import BenchResult, read_result, read_results, to_json
from benchmark.run import run
from benchmark.training import Batch, FitLog, TrainConfig
from fdrd.progress import Progress, silent

__all__ = [
    "AnyImages",
    "Backbone",
    "Batch",
    "BenchResult",
    "CLIPBackbone",
    "ContextVectors",
    "Features",
    "FitLog",
    "FrozenFeatures",
    "Images",
    "LossDirection",
    "Method",
    "Progress",
    "PromptMethod",
    "Prompts",
    "RetrievalMetrics",
    "TrainConfig",
    "default_backbone",
    "default_cache",
    "distribute",
    "get_method",
    "info_nce",
    "load_backbone",
    "load_plugin",
    "markdown",
    "method",
    "method_names",
    "method_options",
    "read_result",
    "read_results",
    "run",
    "silent",
    "table",
    "to_json",
]
