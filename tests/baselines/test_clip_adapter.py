"""CLIP-Adapter learns behind the towers, on frozen features alone."""

import pytest
import torch
from torch.nn.functional import normalize

import baselines.clip_adapter
from benchmark import FrozenFeatures, TrainConfig, get_method, load_method
from benchmark.evaluation.encoding import encode_split
from benchmark.training.closed_form import Choice
from fdrd.errors import FdrdError
from tests.baselines.plain_clip import ONE_WAY, bottleneck, check_equal, symmetric
from tests.encoding import features
from tests.running import run_method


def test_the_bottleneck_by_hand(tiny_clip):
    """x = e0; W1 = first row e0 * 2, others 0; W2 gives 3 of it to axis 1 and -3 to axis 2.

    ReLU(W1 x) = (2, 0, 0, 0); ReLU(W2 ...) = 6 on axis 1, 0 on axis 2.
    With ratio 0.2: 0.2 * 6 = 1.2 on axis 1, 0.8 * 1 on axis 0; of unit length.
    """
    method = get_method("clip_adapter")(tiny_clip)
    adapter = method.learner["text"]
    first, last = adapter.inner[0].weight, adapter.inner[2].weight
    with torch.no_grad():
        first.zero_()[0, 0] = 2
        last.zero_()[1, 0], last[2, 0] = 3, -3
        found = adapter(torch.eye(16)[:1])[0]
    assert first.shape == (4, 16)
    expected = normalize(torch.tensor([0.8, 1.2, *[0.0] * 14]), dim=0)
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("side", "adapted"), [("text", {"text"}), ("image", {"image"}), ("both", {"image", "text"})]
)
def test_the_chosen_side_is_adapted_and_the_other_is_zero_shot(
    tiny_clip, tiny_dataset, side, adapted
):
    dataset = tiny_dataset["test"]
    method = get_method("clip_adapter")(tiny_clip, side=side)
    plain = features(get_method("zero_shot")(tiny_clip), dataset)
    found = features(method, dataset)
    for name, before, after in zip(("image", "text"), plain, found, strict=True):
        if name in adapted:
            assert not torch.equal(before, after)
            assert torch.equal(after, method.learner[name](before))
        else:
            assert torch.equal(before, after)
    assert set(method.learner) == adapted


def test_each_side_has_its_own_weights(tiny_clip):
    learner = get_method("clip_adapter")(tiny_clip, side="both").learner
    one, other = (learner[side].inner[0].weight for side in ("image", "text"))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("form", ["residual", "linear"])
def test_the_other_forms_start_from_zero_shot(tiny_clip, tiny_dataset, form):
    method = get_method("clip_adapter")(tiny_clip, form=form, side="both")
    plain = features(get_method("zero_shot")(tiny_clip), tiny_dataset["test"])
    for before, after in zip(plain, features(method, tiny_dataset["test"]), strict=True):
        assert after == pytest.approx(before, abs=1e-6)


@pytest.mark.parametrize("side", ["text", "image", "both"])
def test_training_on_cached_features_runs_no_tower(make_clip, tiny_dataset, tmp_path, side):
    backbone = make_clip(FrozenFeatures(tmp_path))
    calls = []
    for tower in (backbone.model.vision_model, backbone.model.text_model):
        tower.register_forward_pre_hook(lambda *_: calls.append(1))
    for split in ("train", "validation"):
        encode_split(get_method("zero_shot")(backbone), tiny_dataset[split])
    assert calls
    calls.clear()
    train = TrainConfig(epochs=3, batch_size=8)
    method = get_method("clip_adapter")(backbone, side=side, train=train)
    assert len(method.fit(tiny_dataset["train"], tiny_dataset["validation"]).epochs) == 3
    assert not calls


def test_an_adapter_of_layers_starts_from_zero_shot_and_reads_them(make_clip, tiny_dataset):
    backbone = make_clip()
    options = {"form": "residual", "side": "both", "layers": "joint,0"}
    method = get_method("clip_adapter")(backbone, **options)
    plain = features(get_method("zero_shot")(backbone), tiny_dataset["test"])
    for before, after in zip(plain, features(method, tiny_dataset["test"]), strict=True):
        assert after == pytest.approx(before, abs=1e-6)
    adapter = method.learner["text"]
    assert adapter.inner[0].weight.shape == (4, 16 + 32)
    with torch.no_grad():
        adapter.inner[2].weight[0] = 1
    layers = backbone.encode_text(["a dog"], layers=[0])
    z = torch.cat([layers.pooled, layers.layers[:, 0]], dim=1)
    hidden = (z @ adapter.inner[0].weight.T).relu()
    expected = normalize(layers.pooled + 0.2 * hidden @ adapter.inner[2].weight.T, dim=1)
    assert (method.encode_text(["a dog"]).pooled - expected).abs().max() < 1e-6


def test_layers_that_validation_did_not_choose_are_not_read(
    make_clip, tiny_dataset, monkeypatch, tmp_path
):
    backbone = make_clip()
    chosen = Choice(None, (64, 48), "", 0.5, 0.5)
    monkeypatch.setattr(baselines.clip_adapter, "choose", lambda *_, **__: chosen)
    options = {"form": "residual", "side": "both", "layers": "auto"}
    result = run_method(
        "clip_adapter",
        tiny_dataset,
        backbone=backbone,
        options=options,
        train={"epochs": 2, "batch_size": 8, "learning_rate": 0.02, "keep_untrained": False},
        results=tmp_path,
    )
    assert result.fit.steps == 6
    (checkpoint,) = tmp_path.glob("*.safetensors")
    loaded = load_method(checkpoint, backbone=backbone)
    for name, columns in (("image", 64), ("text", 48)):
        adapter = loaded.learner[name]
        z = torch.ones(1, adapter.inner[0].weight.shape[1])
        for column, read in ((columns, False), (columns - 1, True)):
            other = z.clone()
            other[0, column] = 9
            assert torch.equal(adapter(z), adapter(other)) != read


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduction": 0}, "reduction=0: must be at least 0.01"),
        ({"ratio": 1.5}, r"ratio=1.5: must be above 0 and at most 1"),
    ],
)
def test_an_impossible_adapter_is_refused(tiny_clip, options, message):
    with pytest.raises(FdrdError, match=message):
        get_method("clip_adapter")(tiny_clip, **options)


def reference(clip, learner, batch):
    images = bottleneck(clip.images(batch.images), learner["image"], 0.2)
    logits = clip.scale * images @ clip.texts(batch.captions).T
    return logits, symmetric(logits, "image_to_text")


@pytest.mark.slow
def test_it_equals_the_reference(make_clip, tiny_dataset):
    check_equal("clip_adapter", reference, make_clip, tiny_dataset, **{"side": "image"} | ONE_WAY)
