"""What DCAR must reduce to, and what it scores; and figure 2 as drawn."""

import copy
from dataclasses import replace

import pytest
import torch
from PIL import Image

from benchmark import Adapter, Images, Prompts, TrainConfig, get_method, info_nce
from benchmark.training.loop import batches
from benchmark.training.losses import sigmoid_loss
from dcar.candidates import CandidateCaptions
from dcar.token_weights import caption_weights
from tests.encoding import features

TRAIN = TrainConfig(epochs=2, batch_size=8, optimizer="adamw", learning_rate=0.01)

OFF = {"beta": 0.0, "lambda_cate": 0.0, "gamma": 0.0}
"""Of DCAR's parts, prompts remain."""


def made(backbone, name="dcar", **options):
    return get_method(name)(backbone, **{"n_ctx": 2, "train": TRAIN, **options})


def stirred(backbone, rows, name="dcar", **options):
    """Return a method away from its start, where a missing part would not show."""
    options = options if name == "dcar_figure" else {"depth": 2, **options}
    method = made(backbone, name, **options)
    torch.manual_seed(0)
    with torch.no_grad():
        method.learner.entered.fill_(True)
        for parameter in method.learner.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    method.candidates = CandidateCaptions(rows, 0, own=True, n_attribute=2)
    return method


def first_batch(splits, size=8):
    return next(batches(splits["train"], size, seed=0, epoch=0))


def own_candidates(method, rows, row, kinds):
    """Return the caption of a row, which comes first, and its negatives, each with its category."""
    own = rows.categories[rows.row_category[row]]
    negatives = method.candidates.negatives.draw(row, 1, 4, 2)
    kinds.update(negative.kind for negative in negatives)
    candidates = [(each.caption, each.category == own) for each in negatives]
    return [(rows.captions[rows.pairs[row, 1]], True), *candidates]


def test_without_weights_and_category_loss_it_is_maple(tiny_clip, quick_dataset):
    """Prompts enter with the first step, so the untrained state of DCAR is not MaPLe's."""
    train = replace(TRAIN, keep_untrained=False)
    both = [
        made(tiny_clip, depth=2, train=train, **OFF),
        made(tiny_clip, "maple", depth=2, train=train, ctx_init=""),
    ]
    for method in both:
        method.fit(quick_dataset["train"], quick_dataset["validation"])
    found = (features(method, quick_dataset["test"]) for method in both)
    for one, other in zip(*found, strict=True):
        assert (one - other).abs().max() < 1e-6


@pytest.mark.parametrize("part", [{"beta": 0.5}, {"lambda_cate": 1.0}, {"gamma": 1.0}], ids=str)
def test_each_part_changes_what_is_learned(part, tiny_clip, tiny_dataset):
    batch, rows = first_batch(tiny_dataset), tiny_dataset["train"]
    plain, other = (stirred(tiny_clip, rows, **{**OFF, **each}).loss(batch) for each in ({}, part))
    assert other.item() != pytest.approx(plain.item(), abs=1e-4)


def test_layers_are_read_with_room_for_the_prompts(tiny_clip):
    """So the choice of layers sees captions as the adapter does; without prompts none is kept free."""
    long = [" ".join(["bird"] * 200)]
    for depth, reserve in ((2, 3), (0, 0)):
        method = get_method("dcar")(tiny_clip, n_ctx=3, depth=depth, layers="joint,last")
        expected = tiny_clip.encode_text(long, reserve=reserve, layers=[tiny_clip.text_layers])
        assert (method.blocks.encode_text(long)[:, : tiny_clip.dim] == expected.pooled).all()


def test_a_second_choice_of_layers_may_be_wider():
    adapter = Adapter(4, "linear", 1.0, 1.0, 0, inputs=12)
    adapter.use(6)
    adapter.use(10)
    assert adapter.used.tolist() == [1.0] * 10 + [0.0] * 2


def test_weights_compare_the_image_with_a_blank_one(tiny_clip, tiny_dataset):
    """A blank photo changes nothing, so its caption is not weighted; a drawing's is."""
    prompts = stirred(tiny_clip, tiny_dataset["train"]).learner.prompts()
    photos = [tiny_dataset["train"].images([0])[0], Image.new("RGB", (40, 40), "white")]
    images = tiny_clip.encode_image(photos, prompts).pooled
    captions = [tiny_dataset["train"].captions[0]] * 2
    weights = caption_weights(tiny_clip, prompts, images, captions, 0.5)
    assert not weights.requires_grad
    assert (weights[0] - 1).abs().max() > 1e-2
    assert (weights[1] - 1).abs().max() < 1e-3


@pytest.mark.parametrize(("loss", "compare"), [("symmetric", info_nce), ("sigmoid", sigmoid_loss)])
def test_the_loss_compares_what_is_scored(loss, compare, tiny_clip, tiny_dataset):
    """The scores of test time, with gradients to prompts and adapter."""
    method = stirred(tiny_clip, tiny_dataset["train"], loss=loss, lambda_cate=0.0, beta=0.0)
    batch = first_batch(tiny_dataset)
    with torch.no_grad():
        images, texts = method.encode_image(batch.images), method.encode_text(batch.captions)
        expected = compare(tiny_clip.logit_scale * method.similarity(images, texts))
    loss = method.loss(batch)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    assert all(each.grad.abs().max() > 1e-9 for each in method.learner.parameters())


def test_the_category_loss_pair_by_pair(tiny_clip, described):
    """Worked out pair by pair: own candidates, plain images, and plain captions through the adapter."""
    method = stirred(tiny_clip, described, epsilon=0.6, beta=0.0)
    batch = next(batches(described, 6, seed=0, epoch=1))
    losses, kinds = [], set()
    with torch.no_grad():
        images = tiny_clip.encode_image(batch.images).pooled
        for image, row in zip(images, batch.rows.tolist(), strict=True):
            captions, same = zip(*own_candidates(method, described, row, kinds), strict=True)
            texts = method.learner.adapter(tiny_clip.encode_text(captions, reserve=2).pooled)
            related = sum(same[1:])
            targets = [1.0, *(0.6 / max(related, 1) * each for each in same[1:])]
            targets = torch.tensor(targets) / sum(targets)
            logits = tiny_clip.logit_scale * texts @ image
            losses.append(-(targets * logits.log_softmax(0)).sum())
        whole = method.loss(batch)
        method.options = replace(method.options, lambda_cate=0.0)
        found = whole - method.loss(batch)
    assert kinds == {"category", "attribute"}
    # Half of it: with own candidates a caption has no image to choose but its own.
    assert found.item() == pytest.approx(torch.stack(losses).mean().item() / 2, rel=1e-3)


def test_the_category_loss_trains_the_adapter_and_no_prompts(tiny_clip, tiny_dataset):
    """It compares adapted captions with the plain image."""
    grads = {}
    for weight in (0.0, 1.0):
        method = made(tiny_clip, depth=2, beta=0.0, lambda_cate=weight)
        method.draw_from(tiny_dataset["train"])
        method.loss(first_batch(tiny_dataset)).backward()
        last = [each.grad for each in method.learner.adapter.parameters()][-1]  # starts at 0
        grads[weight] = method.learner.prompts.context.text[0].grad, last
    assert torch.allclose(grads[0.0][0], grads[1.0][0], atol=1e-7)
    assert (grads[0.0][1] - grads[1.0][1]).abs().max() > 1e-3


def test_prompts_enter_with_their_first_step(tiny_clip, tiny_dataset):
    """The untrained state, which the loop may bring back, has the features of the plain tower."""
    method = made(tiny_clip, depth=2, lambda_cate=0.0, gamma=0.0)
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
    method = stirred(tiny_clip, tiny_dataset["train"], gamma=3.0)
    images, captions = Images.of(tiny_dataset["test"]), tiny_dataset["test"].captions
    with torch.no_grad():
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


def test_the_loss_of_the_figure_pair_by_pair(tiny_clip, described):
    """InfoNCE of weighted captions, and a softmax over own candidates with the logarithm of their weights."""
    method = stirred(tiny_clip, described, "dcar_figure", alpha=3.0)
    scale, losses, kinds = tiny_clip.logit_scale, [], set()
    batch = next(batches(described, 6, seed=0, epoch=1))
    prompts = method.learner()
    with torch.no_grad():
        images = method.encode_image(batch.images).pooled
        weights = caption_weights(tiny_clip, prompts, images, batch.captions, 0.5)
        assert (weights - 1).abs().max() > 1e-3
        weighted = Prompts(text=prompts.text, token_weights=weights)
        texts = tiny_clip.encode_text(batch.captions, weighted).pooled
        contrast = info_nce(scale * images @ texts.T, repeats=batch.repeats)
        for image, row in zip(images, batch.rows.tolist(), strict=True):
            captions, same = zip(*own_candidates(method, described, row, kinds), strict=True)
            adapted = method.learner.adapter(tiny_clip.encode_text(captions, reserve=2).pooled)
            logits = (
                scale * adapted @ image
                + torch.tensor([4.0 if each else 1.0 for each in same]).log()
            )
            losses.append(torch.logsumexp(logits, 0) - logits[0])
        found = method.loss(batch)
    assert kinds == {"category", "attribute"}
    expected = contrast + torch.stack(losses).mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_adapter_reads_layers_and_starts_as_frozen_clip(tiny_clip, tiny_dataset):
    options = {"depth": 0, "layers": "joint,0,last"}
    captions = tiny_dataset["test"].captions
    start = made(tiny_clip, **options)
    moved = stirred(tiny_clip, tiny_dataset["train"], **options)
    with torch.no_grad():
        plain = tiny_clip.encode_text(captions).pooled
        assert (start.encode_text(captions).pooled - plain).abs().max() < 1e-6
        blocks = moved.blocks.encode_text(captions)
        without = torch.cat([blocks[:, : tiny_clip.dim], 0 * blocks[:, tiny_clip.dim :]], dim=1)
        seen = moved.learner.adapter(blocks) - moved.learner.adapter(without)
    assert blocks.shape[1] == tiny_clip.dim + 2 * tiny_clip.text_width
    assert seen.abs().max() > 1e-3


def test_the_second_adapter_enters_where_prompts_would(tiny_clip, tiny_dataset):
    """The control of the ablation: alone first, then (image, image) against (second, first), as with prompts."""
    batch = first_batch(tiny_dataset)
    options = {"depth": 0, "second_adapter": True, "gamma": 4.0}
    method = stirred(tiny_clip, tiny_dataset["train"], **options)
    with torch.no_grad():
        images = tiny_clip.encode_image(batch.images).pooled
        plain = tiny_clip.encode_text(batch.captions).pooled
        first, second = method.learner.adapter(plain), method.learner.second(plain)
        found = method.similarity(
            method.encode_image(batch.images), method.encode_text(batch.captions)
        )
    assert (found - (images @ second.T + 4 * images @ first.T) / 5).abs().max() < 1e-5
    assert (second - plain).abs().max() > 1e-3
