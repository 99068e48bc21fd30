"""MaPLe and adapters, trained together: coupled prompts inside both frozen towers, an adapter behind each.

The prompts are those of MaPLe (arXiv 2210.03117), the adapters those of CLIP-Adapter (arXiv 2110.04544) in their
residual form, which starts as the identity. One loss trains both. No paper proposes exactly this; it is the
control that shows whether a method with prompts and an adapter gains more than its two parts.

CoPrompt (`coprompt.py`) has the same parts, the paper's bottlenecks, and a consistency loss.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from baselines.clip_adapter import Form
from baselines.maple import prompted_layers
from benchmark.models.backbone import PROMPTS, Backbone, Features
from benchmark.models.image_batches import AnyImages
from benchmark.registry import method
from benchmark.settings import PairLoss, TrainConfig
from benchmark.training.learners import Adapter, CoupledPrompts, Coupling
from benchmark.training.trained_method import TrainedMethod


class PromptsAndAdapters(nn.Module):
    """Prompts inside both towers of a frozen backbone, and an adapter behind each."""

    def __init__(self, backbone: Backbone, prompts: CoupledPrompts, image: Adapter, text: Adapter):
        super().__init__()
        self.backbone = backbone
        self.prompts = prompts
        self.image = image
        self.text = text

    def encode_image(self, images: AnyImages) -> Features:
        """Return features of B images."""
        return Features(self.image(self.backbone.encode_image(images, self.prompts()).pooled))

    def encode_text(self, captions: Sequence[str]) -> Features:
        """Return features of B captions."""
        return Features(self.text(self.backbone.encode_text(captions, self.prompts()).pooled))


@method("maple_adapter", needs=PROMPTS, trains="prompts and adapters")
def maple_adapter(
    backbone: Backbone,
    *,
    n_ctx: int = 2,
    depth: int = -1,
    ctx_init: str = "a photo of a",
    coupling: Coupling = "linear",
    form: Form = "residual",
    reduction: int = 1,
    ratio: float = 1.0,
    loss: PairLoss = "symmetric",
    train: TrainConfig = TrainConfig(optimizer="adamw", learning_rate=1e-3),
    seed: int = 0,
) -> TrainedMethod:
    """Train MaPLe's prompts and an adapter behind each tower together.

    Args:
        n_ctx: context vectors, and therefore visual tokens, per layer.
        form: form of the adapters, as in clip_adapter.
        reduction: an adapter is this many times narrower than the joint space.
    """
    depth = prompted_layers(backbone, depth, "maple_adapter")
    learner = PromptsAndAdapters(
        backbone,
        CoupledPrompts(backbone, n_ctx, ctx_init, depth, coupling, seed),
        image=Adapter(backbone.dim, form, reduction, ratio, seed + 1),
        text=Adapter(backbone.dim, form, reduction, ratio, seed + 2),
    )
    return TrainedMethod(
        backbone,
        learner,
        train,
        seed,
        encode_image=learner.encode_image,
        encode_text=learner.encode_text,
        loss=loss,
    )
