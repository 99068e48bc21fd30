"""LoRA learns low-rank updates of query and value projections, and nothing else."""

import sys

import pytest
import torch
from torch import nn

from benchmark import TrainConfig, get_method
from fdrd.errors import FdrdError
from tests.encoding import features


def lora(backbone, **options):
    pytest.importorskip("peft")
    return get_method("lora")(backbone, **options)


@pytest.mark.parametrize(
    ("towers", "widths"), [("both", (32, 48)), ("text", (32,)), ("image", (48,))]
)
def test_it_trains_two_small_matrices_per_projection(tiny_clip, towers, widths):
    """Three layers, two projections each, A (rank, width) and B (width, rank)."""
    learner = lora(tiny_clip, rank=3, towers=towers).learner
    learned = [each for each in learner.parameters() if each.requires_grad]
    assert sum(each.numel() for each in learned) == sum(3 * 2 * 2 * 3 * width for width in widths)
    assert len(learner.state_dict()) == len(learned)  # so a checkpoint holds nothing else
    places = {name.rpartition("/")[0].rpartition("/")[2] for name, _ in learner.named_children()}
    assert places == {"q_proj", "v_proj"}


def test_the_update_is_alpha_over_rank_times_b_a_x(tiny_clip):
    """A picks coordinates 0 and 1, B adds their sum to output 5: alpha 6, rank 2, so three times."""
    method = lora(tiny_clip, rank=2, alpha=6)
    model = method.backbone.model
    layer = model.text_model.encoder.layers[0].self_attn.q_proj
    plain = tiny_clip.model.text_model.encoder.layers[0].self_attn.q_proj
    x = torch.arange(32.0)[None] / 10
    with torch.no_grad():
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        a.zero_()[0, 0] = a[1, 1] = 1
        b.zero_()[5] = 1
        change = (layer(x) - plain(x))[0]
    expected = torch.zeros(32)
    expected[5] = 3 * (0.0 + 0.1)
    assert change == pytest.approx(expected, abs=1e-5)
    on_values = method.learner["text_model/encoder/layers/0/self_attn/v_proj/lora_A"]
    on_queries = method.learner["text_model/encoder/layers/0/self_attn/q_proj/lora_A"]
    assert isinstance(on_values, nn.Module)
    assert on_queries["default"].weight is a  # what is learned is what the tower multiplies by


@pytest.mark.parametrize(("towers", "learns"), [("image", [True, False]), ("text", [False, True])])
def test_a_single_tower_can_be_adapted(towers, learns, tiny_clip, tiny_dataset):
    """Base weights stay, also those of the copy."""
    train = TrainConfig(epochs=1, batch_size=8, learning_rate=0.05, schedule="constant")
    method = lora(tiny_clip, towers=towers, train=train)
    method.fit(tiny_dataset["train"], tiny_dataset["validation"])
    before = features(get_method("zero_shot")(tiny_clip), tiny_dataset["test"])
    after = features(method, tiny_dataset["test"])
    assert [not torch.equal(*each) for each in zip(before, after, strict=True)] == learns
    learned = method.backbone.model.state_dict()
    base = {k.replace(".base_layer", ""): v for k, v in learned.items() if "lora_" not in k}
    given = tiny_clip.model.state_dict()
    assert base.keys() == given.keys()
    assert all(torch.equal(given[name], base[name]) for name in given)


def test_without_peft_the_remedy_is_named(tiny_clip, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(FdrdError, match=r"lora needs peft.*pip install 'fdrd\[lora\]'"):
        get_method("lora")(tiny_clip)
