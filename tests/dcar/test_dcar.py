"""What DCAR must reduce to, and what its text features may know."""

import copy

import pytest
import torch
from PIL import Image

import benchmark
from benchmark import Images, Prompts, TrainConfig, get_method, info_nce
from benchmark.training.loop import batches
from fdrd.errors import FdrdError
from tests.encoding import features

TRAIN = TrainConfig(epochs=2, batch_size=8, optimiser="adamw", learning_rate=0.01)
SMALL = {"n_ctx": 2, "depth": 2, "train": TRAIN}


OFF = {"beta": 0.0, "lambda_cate": 0.0, "gamma": 0.0}
"""Of DCAR's parts, prompts remain."""


def fitted(backbone, splits, name="dcar", **options):
    if name != "maple":
        options = {"adapter_epochs": 3, "adapter_batch": 8, **options}
    method = get_method(name)(backbone, **{**SMALL, **options})
    method.fit(splits["train"], splits["validation"])
    return method


def test_without_weights_and_category_loss_it_is_maple(tiny_clip, tiny_dataset):
    plain = fitted(tiny_clip, tiny_dataset, late_prompts=False, **OFF)
    maple = fitted(tiny_clip, tiny_dataset, "maple", ctx_init="")
    for one, other in zip(
        features(plain, tiny_dataset["test"]), features(maple, tiny_dataset["test"]), strict=True
    ):
        assert (one - other).abs().max() < 1e-6


@pytest.mark.parametrize(
    "options", [{"beta": 0.5}, {"lambda_cate": 1.0}, {"gamma": 1.0}], ids=lambda o: next(iter(o))
)
def test_each_part_changes_what_is_learned(options, tiny_clip, tiny_dataset):
    off = {"preset": "maple", "beta": 0.0, "lambda_cate": 0.0, "gamma": 0.0}
    plain = features(fitted(tiny_clip, tiny_dataset, **off), tiny_dataset["test"])
    other = features(fitted(tiny_clip, tiny_dataset, **{**off, **options}), tiny_dataset["test"])
    assert (plain[1] - other[1]).abs().max() > 1e-4


def test_at_depth_zero_it_is_frozen_clip_plus_the_adapter(tiny_clip, tiny_dataset):
    method = fitted(tiny_clip, tiny_dataset, depth=0, gamma=1.0, plain_image=False)
    images, texts = features(method, tiny_dataset["test"])
    with torch.no_grad():
        plain = tiny_clip.encode_text(tiny_dataset["test"].captions).pooled
        adapted = method.learner.adapter(plain)
        expected = torch.nn.functional.normalize(plain + adapted, dim=-1)
        seen = tiny_clip.encode_image(Images.of(tiny_dataset["test"])).pooled
    assert (images - seen).abs().max() < 1e-6
    assert (texts - expected).abs().max() < 1e-6
    assert (adapted - plain).abs().max() > 1e-3  # it has learned something


@pytest.mark.parametrize("test_weights", ["token_mean", "predictor"])
def test_weights_are_predicted_without_an_image(test_weights, tiny_clip, tiny_dataset):
    method = fitted(tiny_clip, tiny_dataset, test_weights=test_weights, beta=1.0)
    with torch.no_grad():
        weights = method._weights_without_image(tiny_dataset["test"].captions)
    assert (weights[:, 1:4] - 1).abs().max() > 1e-3
    assert (weights[:, 0] == 1).all()  # BOS


def test_token_weights_carry_no_gradient(tiny_clip, tiny_dataset):
    method = fitted(tiny_clip, tiny_dataset)
    photos = tiny_dataset["train"].images([0, 1])
    _, compared = method.encode_compared(photos, method.learner.prompts())
    captions = tiny_dataset["train"].captions[:2]
    plain = method.plain(captions, tokens=True)
    assert not method.weights(captions, plain, compared, method.blank()).requires_grad


def test_weights_compare_the_image_with_a_blank_one(tiny_clip, tiny_dataset):
    """A blank photo changes nothing, so its caption is not weighted; a drawing's is."""
    method = fitted(tiny_clip, tiny_dataset)
    white = Image.new("RGB", (40, 40), "white")
    drawing = tiny_dataset["train"].images([0])[0]
    captions = [tiny_dataset["train"].captions[0]] * 2
    with torch.no_grad():
        _, compared = method.encode_compared([drawing, white], method.learner.prompts())
        plain = method.plain(captions, tokens=True)
        weights = method.weights(captions, plain, compared, method.blank())
    assert (weights[0] - 1).abs().max() > 1e-2
    assert (weights[1] - 1).abs().max() < 1e-3


@pytest.mark.parametrize(
    "options",
    [
        {"weight_look": "patch_max"},
        {"weight_look": "patch_mean", "weight_image": "frozen"},
        {"weight_token": "isolated", "weight_look": "patch_mean"},
        {"weight_unit": "word", "weight_norm": "cal", "weight_sign": "relu", "blank": "noise"},
        {"category_candidates": "own", "category_symmetric": False, "category_mode": "loss"},
        {"n_negatives": 3, "n_attribute": 0, "category_mode": "logit"},
        {"category_candidates": "in_batch"},
        {"n_further": 5},
        {"category_mode": "log_add"},
        {"category_mode": "margin", "contrast": "prompted"},
        {"pair_weight": 1.0, "learn_gamma": True},
        {"loss": "sigmoid"},
        {"n_negatives": 0, "n_attribute": 0},
        {"adapter": "bottleneck", "adapter_ratio": 0.2, "coupling": "mlp"},
        {"adapter": "identity", "coupling": "independent", "preset": "figure", "depth": -1},
    ],
    ids=lambda options: ",".join(options),
)
def test_every_option_trains(options, tiny_clip, tiny_dataset):
    method = get_method("dcar")(tiny_clip, **{**SMALL, "adapter_epochs": 3, **options})
    log = method.fit(tiny_dataset["train"], tiny_dataset["validation"])
    assert log.epochs[-1].loss < log.epochs[0].loss


def test_the_sigmoid_loss_pair_by_pair(make_clip, tiny_dataset):
    backbone = make_clip()
    backbone.logit_bias = -3.0
    options = {"loss": "sigmoid", "beta": 0.0, "lambda_cate": 0.0}
    method = get_method("dcar")(backbone, **SMALL, **options)
    batch = next(batches(tiny_dataset["train"], 6, seed=0, epoch=0))
    with torch.no_grad():
        loss = method.loss(batch)
        images, texts = method.encode_image(batch.images), method.encode_text(batch.captions)
        logits = backbone.logit_scale * method.similarity(images, texts) - 3.0
    expected = sum(
        torch.log1p(torch.exp(logits[i, j] * (-1 if i == j else 1)))
        for i in range(6)
        for j in range(6)
        if i == j or batch.repeats is None or not batch.repeats[i, j]
    )
    assert loss == pytest.approx(float(expected) / 6, rel=1e-5)


def test_the_category_loss_pair_by_pair(tiny_clip, make_row, make_dataset, make_drawing):
    """Worked out pair by pair: own candidates, one direction, the plain features through the adapter."""
    rows = []
    for color in ("red", "green", "blue", "black"):
        for shape in ("circle", "square", "triangle"):
            caption, span = f"a {color} {shape}", {"type": "colour", "value": color}
            described = make_row(len(rows), make_drawing(color, shape, "left"), caption, shape)
            described["attributes"] = [{**span, "start": 2, "end": 2 + len(color)}]
            rows.append(described)
    splits = {name: make_dataset(rows, name) for name in ("train", "validation")}
    train = splits["train"]
    options = {
        "category_candidates": "own",
        "category_symmetric": False,
        "category_mode": "log_add",
        "plain_image": False,
    }
    method = fitted(tiny_clip, splits, n_attribute=2, alpha=3.0, **options)
    batch = next(batches(train, 6, seed=0, epoch=1))
    scale, losses, kinds = tiny_clip.logit_scale, [], set()
    with torch.no_grad():
        images = method.encode_image(batch.images).pooled
        for image, row in zip(images, batch.rows.tolist(), strict=True):
            own = train.categories[train.row_category[row]]
            candidates = [(train.captions[train.pairs[row, 1]], own)]
            for negative in method.candidates.negatives.draw(row, 1, 4, 2):
                candidates.append((negative.caption, negative.category))
                kinds.add(negative.kind)
            logits = []
            for caption, category in candidates:
                text = method.learner.adapter(tiny_clip.encode_text([caption], reserve=2).pooled[0])
                weight = 4.0 if category == own else 1.0
                logits.append(scale * image @ text + torch.tensor(weight).log())
            losses.append(torch.logsumexp(torch.stack(logits), 0) - logits[0])
        found = method._category_loss(batch, images)
    assert kinds == {"category", "attribute"}
    assert found.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-4)


def test_the_figure_preset_is_what_figure_2_shows(tiny_clip):
    method = get_method("dcar")(tiny_clip, preset="figure", n_ctx=2)
    prompts = method.learner.prompts()
    assert [len(prompts.text), len(prompts.vision)] == [1, 1]
    shown = {
        "category_candidates": "own", "category_symmetric": False, "n_negatives": 4, "n_attribute": 2,
        "adapter_epochs": 0, "gamma": 0.0, "contrast": "prompted", "pair_weight": 0.0,
        "category_mode": "log_add", "weight_sign": "abs", "blank": "white", "lambda_cate": 1.0,
    }  # fmt: skip
    assert {name: getattr(method.config, name) for name in shown} == shown


def test_given_options_win_over_those_of_a_preset(tiny_clip, tiny_dataset, tmp_path):
    """Also from a checkpoint, which stores all options."""
    options = {"preset": "figure", "n_ctx": 2, "gamma": 2.0}
    done = benchmark.run(
        "dcar",
        tiny_dataset,
        backbone=tiny_clip,
        options=options,
        train={"epochs": 1},
        results=tmp_path,
    )
    assert done.settings.options["gamma"] == 2.0
    assert done.settings.options["n_attribute"] == 2
    method = benchmark.load_method(next(tmp_path.glob("*.safetensors")), backbone=tiny_clip)
    assert (method.config.gamma, method.config.n_attribute, method.config.depth) == (2.0, 2, 1)


OPTIONS_OF_0_1 = {
    "preset": "maple", "n_ctx": 2, "depth": 2, "beta": 0.5, "gamma": 4.0, "adapter": "residual",
    "adapter_reduction": 1, "category_mode": "log_add", "test_weights": "none",
}  # fmt: skip


def test_options_of_version_0_1_score_as_they_did(tiny_clip, tiny_dataset):
    """A checkpoint of that version lacks the newer options; its captions are T + 4 A(P)."""
    method = fitted(tiny_clip, tiny_dataset, **OPTIONS_OF_0_1)
    captions = tiny_dataset["test"].captions
    with torch.no_grad():
        found = method.encode_text(captions)
        prompted = tiny_clip.encode_text(captions, Prompts(text=method.learner.prompts().text))
        adapted = method.learner.adapter(tiny_clip.encode_text(captions, reserve=2).pooled)
        expected = torch.nn.functional.normalize(prompted.pooled + 4 * adapted, dim=-1)
    assert (found.pooled - expected).abs().max() < 1e-6
    assert found.tokens is None
    assert {name.partition(".")[0] for name in method.learner.state_dict()} == {
        "prompts",
        "adapter",
    }


def test_the_fused_loss_compares_what_is_scored(tiny_clip, tiny_dataset):
    """InfoNCE of the scores of test time, pair weights included."""
    options = {"contrast": "fused", "lambda_cate": 0.0, "beta": 0.0, "pair_weight": 0.7}
    method = fitted(tiny_clip, tiny_dataset, learn_gamma=True, late_prompts=False, **options)
    batch = next(batches(tiny_dataset["train"], 8, seed=0, epoch=0))
    with torch.no_grad():
        scores = method.similarity(
            method.encode_image(batch.images), method.encode_text(batch.captions)
        )
        expected = info_nce(tiny_clip.logit_scale * scores)
    assert method.loss(batch).item() == pytest.approx(expected.item(), rel=1e-5)
    method.loss(batch).backward()
    assert method.learner.log_gamma.grad.abs() > 1e-6
    assert method.learner.prompts.context.text[0].grad.abs().max() > 1e-6


def test_prompts_enter_with_their_first_step(tiny_clip, tiny_dataset):
    """The untrained state, which the loop may bring back, has the features of the plain tower."""
    method = get_method("dcar")(tiny_clip, lambda_cate=0.0, plain_image=False, **SMALL)
    untrained = copy.deepcopy(method.learner.state_dict())
    batch = next(batches(tiny_dataset["train"], 8, seed=0, epoch=0))
    with torch.no_grad():
        plain = tiny_clip.encode_image(batch.images).pooled
        assert torch.equal(method.encode_image(batch.images).pooled, plain)
        method.loss(batch)
        assert (method.encode_image(batch.images).pooled - plain).abs().max() > 1e-4
        method.learner.load_state_dict(untrained)
        assert torch.equal(method.encode_image(batch.images).pooled, plain)


def test_dcar_plus_adapts_prompted_images(tiny_clip, tiny_dataset):
    method = fitted(tiny_clip, tiny_dataset, "dcar_plus", late_prompts=False, plain_image=False)
    images = Images.of(tiny_dataset["test"])
    with torch.no_grad():
        prompted = tiny_clip.encode_image(images, method.learner.prompts()).pooled
        expected = method.learner.image_adapter(prompted)
        assert (method.encode_image(images).pooled - expected).abs().max() < 1e-6
    assert (expected - prompted).abs().max() > 1e-3
    assert fitted(tiny_clip, tiny_dataset).learner.image_adapter is None


@pytest.mark.parametrize("name", ["dcar", "dcar_plus"])
def test_prompted_and_adapted_features_are_compared_with_their_own_image(
    name, tiny_clip, tiny_dataset
):
    """(c + gamma c') / (1 + gamma), and c' alone before the prompts enter."""
    method = fitted(tiny_clip, tiny_dataset, name, late_prompts=False, gamma=3.0)
    images, captions = Images.of(tiny_dataset["test"]), tiny_dataset["test"].captions
    with torch.no_grad():
        found = method.similarity(method.encode_image(images), method.encode_text(captions))
        prompts = method.learner.prompts()
        prompted = tiny_clip.encode_image(images, Prompts(vision=prompts.vision)).pooled
        own = prompted @ tiny_clip.encode_text(captions, Prompts(text=prompts.text)).pooled.T
        plain = tiny_clip.encode_image(images).pooled
        if name == "dcar_plus":
            plain = method.learner.image_adapter(plain)
        adapted = method.learner.adapter(tiny_clip.encode_text(captions, reserve=2).pooled)
        assert (found - (own + 3 * plain @ adapted.T) / 4).abs().max() < 1e-6
        method.learner.entered = torch.tensor(False)
        before = method.similarity(method.encode_image(images), method.encode_text(captions))
        assert (before - plain @ adapted.T).abs().max() < 1e-6


def test_the_category_loss_trains_the_adapter_and_no_prompts(tiny_clip, tiny_dataset):
    """It compares adapted captions with the plain image; the contrastive loss of prompts does the reverse."""
    options = {"contrast": "prompted", "beta": 0.0, "adapter_epochs": 0}
    grads = {}
    for weight in (0.0, 1.0):
        method = get_method("dcar")(tiny_clip, **{**SMALL, **options, "lambda_cate": weight})
        if weight:
            method.draw_from(tiny_dataset["train"])
        batch = next(batches(tiny_dataset["train"], 8, seed=0, epoch=0))
        method.loss(batch).backward()
        grads[weight] = (
            method.learner.prompts.context.text[0].grad,
            [each.grad for each in method.learner.adapter.parameters()],
        )
    assert torch.equal(grads[0.0][0], grads[1.0][0])
    assert all(each is None for each in grads[0.0][1])
    assert grads[1.0][1][-1].abs().max() > 0  # the layer that starts at 0


def test_impossible_options_are_refused(tiny_clip):
    make = get_method("dcar")
    with pytest.raises(FdrdError, match="raise n_negatives"):
        make(tiny_clip, n_negatives=1, n_attribute=2)
    with pytest.raises(FdrdError, match="give plain_image=no"):
        make(tiny_clip, depth=0, test_weights="rerank")
    with pytest.raises(FdrdError, match="alpha=-1"):
        make(tiny_clip, alpha=-1.0)
    with pytest.raises(FdrdError, match="tower has 3 layers"):
        make(tiny_clip, depth=9)
    with pytest.raises(FdrdError, match="contrast=fused and gamma > 0"):
        make(tiny_clip, learn_gamma=True, gamma=0.0)
    with pytest.raises(FdrdError, match="give pair_weight=0"):
        make(tiny_clip, test_weights="rerank", pair_weight=1.0)
