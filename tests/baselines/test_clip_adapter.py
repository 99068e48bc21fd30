"""CLIP-Adapter learns behind the towers, on frozen features alone."""

import pytest
import torch

import baselines.clip_adapter
from benchmark import FrozenFeatures, TrainConfig, get_method, load_method
from benchmark.evaluation.encoding import encode_split
from benchmark.training.closed_form import Choice
from tests.encoding import counted, features
from tests.running import run_method


@pytest.mark.parametrize(
    ("side", "adapted"), [("text", ["text"]), ("image", ["image"]), ("both", ["image", "text"])]
)
def test_the_chosen_side_is_adapted_and_the_other_is_zero_shot(
    tiny_clip, tiny_dataset, side, adapted
):
    dataset = tiny_dataset["test"]
    method = get_method("clip_adapter")(tiny_clip, side=side)
    plain = features(get_method("zero_shot")(tiny_clip), dataset)
    for name, before, after in zip(
        ("image", "text"), plain, features(method, dataset), strict=True
    ):
        expected = method.learner[name](before) if name in adapted else before
        assert torch.equal(after, expected)
        assert torch.equal(after, before) == (name not in adapted)
    assert sorted(method.learner) == adapted
    drawn = [each.inner[0].weight for each in method.learner.values()]
    assert len(drawn) == 1 or not torch.equal(*drawn)


@pytest.mark.parametrize("side", ["text", "image"])
def test_training_on_cached_features_runs_no_tower(make_clip, tiny_dataset, tmp_path, side):
    backbone = make_clip(FrozenFeatures(tmp_path))
    for split in ("train", "validation"):
        encode_split(get_method("zero_shot")(backbone), tiny_dataset[split])
    method = get_method("clip_adapter")(backbone, side=side, train=TrainConfig(epochs=1))
    with counted(backbone) as seen:
        method.fit(tiny_dataset["train"], tiny_dataset["validation"])
    assert seen == {"images": 0, "captions": 0}


def test_layers_that_validation_did_not_choose_are_not_read(
    tiny_clip, tiny_dataset, monkeypatch, tmp_path
):
    chosen = Choice(None, (64, 48), "", 0.5, 0.5)
    monkeypatch.setattr(baselines.clip_adapter, "choose", lambda *_, **__: chosen)
    result = run_method(
        "clip_adapter",
        tiny_dataset,
        backbone=tiny_clip,
        options={"form": "residual", "side": "both", "layers": "auto"},
        train={"epochs": 2, "batch_size": 8, "learning_rate": 0.02, "keep_untrained": False},
        results=tmp_path,
    )
    assert result.fit.steps == 6
    loaded = load_method(next(tmp_path.glob("*.safetensors")), backbone=tiny_clip)
    for name, columns in (("image", 64), ("text", 48)):
        adapter = loaded.learner[name]
        z = torch.ones(1, adapter.inner[0].weight.shape[1])
        for column, read in ((columns, False), (columns - 1, True)):
            other = z.clone()
            other[0, column] = 9
            assert torch.equal(adapter(z), adapter(other)) != read
