"""ProLIP trains the last projection, and its penalty holds it near its start."""

from dataclasses import replace

import pytest
import torch

from benchmark import TrainConfig, get_method
from benchmark.training.loop import batches
from fdrd.errors import FdrdError

TRAIN = TrainConfig(
    epochs=1, batch_size=8, optimizer="adamw", learning_rate=0.05, keep_untrained=False
)


@pytest.mark.parametrize(
    ("side", "trained"),
    [
        ("image", ["visual_projection"]),
        ("text", ["text_projection"]),
        ("both", ["visual_projection", "text_projection"]),
    ],
)
def test_only_the_projections_of_a_side_are_trained(tiny_clip, tiny_dataset, side, trained):
    method = get_method("prolip")(tiny_clip, side=side, train=TRAIN)
    method.fit(tiny_dataset["train"], tiny_dataset["validation"])
    assert list(method.learner) == trained
    learned, plain = method.backbone.model.state_dict(), tiny_clip.model.state_dict()
    changed = {name for name in plain if not torch.equal(plain[name], learned[name])}
    assert changed == {f"{name}.weight" for name in trained}


@pytest.mark.parametrize("scale", [100.0, 8.0, torch.tensor(8.0)])
def test_the_loss_is_the_contrast_plus_the_squared_distance(tiny_clip, tiny_dataset, scale):
    """Its weight is that of the paper, at a scale of 100, and follows the scale of the loss."""
    batch = replace(next(batches(tiny_dataset["train"], 8, 0, 0)), scale=scale)
    methods = [get_method("prolip")(tiny_clip, penalty=penalty) for penalty in (0.0, 3.0)]
    for method in methods:
        (weight,) = method.learner.parameters()
        weight.data[0, 0] += 2.0
    with torch.no_grad():
        plain, held = (float(method.loss(batch)) for method in methods)
    assert held - plain == pytest.approx(3.0 * float(scale) / 100 * 4.0, rel=1e-4)


def test_a_tower_without_a_linear_projection_is_refused(make_clip):
    backbone = make_clip()
    del backbone.model.text_projection
    with pytest.raises(FdrdError, match=r"text tower of backbone .* without a linear projection"):
        get_method("prolip")(backbone, side="both")
