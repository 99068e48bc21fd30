"""What DCAR must reduce to, and what it scores."""

import copy

import pytest
import torch
from PIL import Image

from benchmark import Images, Prompts, TrainConfig, get_method, info_nce
from benchmark.registry import method_options
from benchmark.training.loop import batches
from dcar.candidates import CandidateCaptions
from dcar.token_weights import caption_weights
from fdrd.errors import FdrdError
from tests.encoding import features

TRAIN = TrainConfig(epochs=2, batch_size=8, optimizer="adamw", learning_rate=0.01)
SMALL = {"n_ctx": 2, "depth": 2, "train": TRAIN}

OFF = {"beta": 0.0, "lambda_cate": 0.0, "gamma": 0.0}
"""Of DCAR's parts, prompts remain."""


def fitted(backbone, splits, name="dcar", **options):
    if name != "maple":
        options = {"adapter_epochs": 3, **options}
    method = get_method(name)(backbone, **{**SMALL, **options})
    method.fit(splits["train"], splits["validation"])
    return method


def first_batch(splits, size=8):
    return next(batches(splits["train"], size, seed=0, epoch=0))


def test_it_has_at_most_twelve_options():
    assert len(method_options("dcar")) <= 12


def test_without_weights_and_category_loss_it_is_maple(tiny_clip, tiny_dataset):
    """Prompts enter with the first step, so the untrained state of DCAR is not MaPLe's."""
    train = TrainConfig(**{**vars(TRAIN), "keep_untrained": False})
    plain = fitted(tiny_clip, tiny_dataset, train=train, **OFF)
    maple = fitted(tiny_clip, tiny_dataset, "maple", train=train, ctx_init="")
    for one, other in zip(
        features(plain, tiny_dataset["test"]), features(maple, tiny_dataset["test"]), strict=True
    ):
        assert (one - other).abs().max() < 1e-6


def test_each_part_changes_what_is_learned(tiny_clip, tiny_dataset):
    batch = first_batch(tiny_dataset)

    def trained(**given):
        method = fitted(tiny_clip, tiny_dataset, **{**OFF, "adapter_epochs": 0, **given})
        return method.loss(batch).item()

    plain = trained()
    for options in ({"beta": 0.5}, {"lambda_cate": 1.0}, {"gamma": 1.0}):
        assert trained(**options) != pytest.approx(plain, abs=1e-4), options


def test_at_depth_zero_it_is_frozen_clip_plus_the_adapter(tiny_clip, tiny_dataset):
    method = fitted(tiny_clip, tiny_dataset, depth=0)
    images, texts = features(method, tiny_dataset["test"])
    with torch.no_grad():
        plain = tiny_clip.encode_text(tiny_dataset["test"].captions).pooled
        expected = method.learner.adapter(plain)
        seen = tiny_clip.encode_image(Images.of(tiny_dataset["test"])).pooled
    assert (images - seen).abs().max() < 1e-6
    assert (texts - expected).abs().max() < 1e-6
    assert (expected - plain).abs().max() > 1e-3  # it has learned something


def test_the_adapter_reads_layers_and_starts_as_frozen_clip(tiny_clip, tiny_dataset):
    options = {"depth": 0, "layers": "joint,0,last"}
    start = get_method("dcar")(tiny_clip, **{**SMALL, **options})
    trained = fitted(tiny_clip, tiny_dataset, **options)
    captions = tiny_dataset["test"].captions
    with torch.no_grad():
        plain = tiny_clip.encode_text(captions).pooled
        assert (start.encode_text(captions).pooled - plain).abs().max() < 1e-6
        blocks = trained.blocks.encode_text(captions)
        without = torch.cat([blocks[:, : tiny_clip.dim], 0 * blocks[:, tiny_clip.dim :]], dim=1)
        seen = trained.learner.adapter(blocks) - trained.learner.adapter(without)
    assert blocks.shape[1] == tiny_clip.dim + 2 * tiny_clip.text_width
    assert seen.abs().max() > 1e-3  # it has learned from the layers


def test_the_second_adapter_enters_where_prompts_would(tiny_clip, tiny_dataset):
    """The control of the ablation: alone first, then (image, image) against (second, first), as with prompts."""
    batch = first_batch(tiny_dataset)
    method = fitted(tiny_clip, tiny_dataset, depth=0, second_adapter=True, gamma=4.0)
    method.loss(batch)
    with torch.no_grad():
        images, plain = (
            tiny_clip.encode_image(batch.images).pooled,
            tiny_clip.encode_text(batch.captions).pooled,
        )
        first, second = method.learner.adapter(plain), method.learner.second(plain)
        expected = (images @ second.T + 4 * images @ first.T) / 5
        scores = method.similarity(
            method.encode_image(batch.images), method.encode_text(batch.captions)
        )
    assert (scores - expected).abs().max() < 1e-5
    assert (second - plain).abs().max() > 1e-3


@pytest.mark.parametrize("options", [{"depth": 1}, {"depth": 0, "gamma": 0.0}])
def test_a_second_adapter_needs_the_place_of_the_prompts(tiny_clip, options):
    with pytest.raises(FdrdError, match="takes the place of the prompts; give depth=0, and gamma"):
        get_method("dcar")(tiny_clip, second_adapter=True, **options)


def test_weights_compare_the_image_with_a_blank_one(tiny_clip, tiny_dataset):
    """A blank photo changes nothing, so its caption is not weighted; a drawing's is."""
    method = fitted(tiny_clip, tiny_dataset)
    white = Image.new("RGB", (40, 40), "white")
    drawing = tiny_dataset["train"].images([0])[0]
    captions = [tiny_dataset["train"].captions[0]] * 2
    prompts = method.learner.prompts()
    images = tiny_clip.encode_image([drawing, white], prompts).pooled
    weights = caption_weights(tiny_clip, prompts, images, captions, 0.5)
    assert not weights.requires_grad
    assert (weights[0] - 1).abs().max() > 1e-2
    assert (weights[1] - 1).abs().max() < 1e-3


@pytest.mark.parametrize(
    "options",
    [
        {"layers": "joint,0,last"},
        {"layers": "auto", "depth": 0},
        {"second_adapter": True, "depth": 0},
        {"n_attribute": 2},
        {"loss": "sigmoid"},
        {"adapter": False},
        {"gamma": 0.5},
        {"depth": -1, "n_ctx": 1},
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
    batch = first_batch(tiny_dataset, 6)
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


def test_the_loss_compares_what_is_scored(tiny_clip, tiny_dataset):
    """InfoNCE of the scores of test time, with gradients to prompts and adapter."""
    method = fitted(tiny_clip, tiny_dataset, lambda_cate=0.0, beta=0.0)
    batch = first_batch(tiny_dataset)
    method.loss(batch)  # the prompts enter
    with torch.no_grad():
        scores = method.similarity(
            method.encode_image(batch.images), method.encode_text(batch.captions)
        )
        expected = info_nce(tiny_clip.logit_scale * scores)
    assert method.loss(batch).item() == pytest.approx(expected.item(), rel=1e-5)
    method.loss(batch).backward()
    for part in (method.learner.prompts, method.learner.adapter):
        assert all(each.grad.abs().max() > 1e-9 for each in part.parameters())


def test_the_category_loss_pair_by_pair(tiny_clip, described):
    """Worked out pair by pair: own candidates, plain images, and plain captions through the adapter."""
    splits = {"train": described, "validation": described}
    train = splits["train"]
    method = fitted(tiny_clip, splits, epsilon=0.6, beta=0.0)
    method.candidates = CandidateCaptions(train, method.seed, own=True, n_attribute=2)
    batch = next(batches(train, 6, seed=0, epoch=1))
    scale, losses, kinds = tiny_clip.logit_scale, [], set()
    with torch.no_grad():
        images = tiny_clip.encode_image(batch.images).pooled
        for image, row in zip(images, batch.rows.tolist(), strict=True):
            own = train.categories[train.row_category[row]]
            candidates = [(train.captions[train.pairs[row, 1]], own)]
            for negative in method.candidates.negatives.draw(row, 1, 4, 2):
                candidates.append((negative.caption, negative.category))
                kinds.add(negative.kind)
            logits = []
            for caption, _ in candidates:
                text = method.learner.adapter(tiny_clip.encode_text([caption], reserve=2).pooled[0])
                logits.append(scale * image @ text)
            related = [name == own for _, name in candidates[1:]]
            targets = [1.0, *(0.6 / max(sum(related), 1) * each for each in related)]
            targets = torch.tensor(targets) / sum(targets)
            losses.append(-(targets * torch.stack(logits).log_softmax(0)).sum())
        whole = method.loss(batch)
        method.options = type(method.options)(**{**vars(method.options), "lambda_cate": 0.0})
        found = whole - method.loss(batch)
    assert kinds == {"category", "attribute"}
    # Half of it: with own candidates a caption has no image to choose but its own.
    assert found.item() == pytest.approx(torch.stack(losses).mean().item() / 2, rel=1e-3)


def test_the_category_loss_trains_the_adapter_and_no_prompts(tiny_clip, tiny_dataset):
    """It compares adapted captions with the plain image."""
    grads = {}
    for weight in (0.0, 1.0):
        method = get_method("dcar")(tiny_clip, **SMALL, beta=0.0, lambda_cate=weight)
        method.draw_from(tiny_dataset["train"])
        method.loss(first_batch(tiny_dataset)).backward()
        last = [each.grad for each in method.learner.adapter.parameters()][-1]  # starts at 0
        grads[weight] = method.learner.prompts.context.text[0].grad, last
    assert torch.allclose(grads[0.0][0], grads[1.0][0], atol=1e-7)
    assert (grads[0.0][1] - grads[1.0][1]).abs().max() > 1e-3


def test_prompts_enter_with_their_first_step(tiny_clip, tiny_dataset):
    """The untrained state, which the loop may bring back, has the features of the plain tower."""
    method = get_method("dcar")(tiny_clip, lambda_cate=0.0, gamma=0.0, **SMALL)
    untrained = copy.deepcopy(method.learner.state_dict())
    batch = first_batch(tiny_dataset)
    with torch.no_grad():
        plain = tiny_clip.encode_image(batch.images).pooled
        assert torch.equal(method.encode_image(batch.images).pooled, plain)
        method.loss(batch)
        assert (method.encode_image(batch.images).pooled - plain).abs().max() > 1e-4
        method.learner.load_state_dict(untrained)
        assert torch.equal(method.encode_image(batch.images).pooled, plain)


def test_prompted_and_adapted_features_are_compared_with_their_own_image(tiny_clip, tiny_dataset):
    """(c + gamma c') / (1 + gamma), and c' alone before the prompts enter."""
    method = fitted(tiny_clip, tiny_dataset, "dcar", gamma=3.0)
    images, captions = Images.of(tiny_dataset["test"]), tiny_dataset["test"].captions
    with torch.no_grad():
        method.learner.entered.fill_(True)
        found = method.similarity(method.encode_image(images), method.encode_text(captions))
        prompts = method.learner.prompts()
        prompted = tiny_clip.encode_image(images, Prompts(vision=prompts.vision)).pooled
        own = prompted @ tiny_clip.encode_text(captions, Prompts(text=prompts.text)).pooled.T
        plain = tiny_clip.encode_image(images).pooled
        adapted = method.learner.adapter(tiny_clip.encode_text(captions, reserve=2).pooled)
        assert (found - (own + 3 * plain @ adapted.T) / 4).abs().max() < 1e-6
        method.learner.entered.fill_(False)
        before = method.similarity(method.encode_image(images), method.encode_text(captions))
        assert (before - plain @ adapted.T).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_attribute": 5}, "n_attribute=5: a caption has 4 negatives"),
        ({"epsilon": -1.0}, "epsilon=-1: must be at least 0"),
        ({"depth": 9}, "tower has 3 layers"),
        ({"depth": 0, "adapter": False}, "depth=0 leaves only the adapter to train"),
        ({"depth": 0, "gamma": 0.0, "lambda_cate": 0.0}, "give adapter=yes, and gamma or"),
    ],
    ids=lambda each: ",".join(each) if isinstance(each, dict) else "",
)
def test_impossible_options_are_refused(options, message, tiny_clip):
    with pytest.raises(FdrdError, match=message):
        get_method("dcar")(tiny_clip, **options)
