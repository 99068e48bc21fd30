"""What all methods share, and the measuring: towers with prompts, training, metrics, results."""

from benchmark.backbone import Backbone, Features, Prompts
from benchmark.clip import CLIPBackbone
from benchmark.frozen import FrozenFeatures
from benchmark.images import AnyImages, Images
from benchmark.losses import LossDirection, info_nce
from benchmark.method import Method, get_method, load_plugin, method, method_names
from benchmark.metrics import RetrievalMetrics
from benchmark.progress import Progress, silent
from benchmark.prompting import ContextVectors, PromptMethod
from benchmark.run import open_backbone, run
from benchmark.training import Batch, FitLog, TrainConfig

__all__ = [
    "AnyImages",
    "Backbone",
    "Batch",
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
    "get_method",
    "info_nce",
    "load_plugin",
    "method",
    "method_names",
    "open_backbone",
    "run",
    "silent",
]
