"""CoCoOp encodes a caption in a context that depends on the image, for the pairs of a shortlist."""

import numpy as np
import pytest
import torch

from baselines.cocoop import SAMPLE
from benchmark import Images, Prompts, TrainConfig, get_method, info_nce
from benchmark.evaluation.encoding import encode_split
from benchmark.evaluation.ranking import rank
from benchmark.training.loop import Batch
from fdrd.errors import FdrdError
from tests.baselines.plain_clip import ONE_WAY, check_equal, symmetric

TRAIN = TrainConfig(epochs=1, batch_size=8, learning_rate=0.05)
SHARE = 0.24


def make(backbone, rerank=SHARE, **options):
    return get_method("cocoop")(backbone, rerank=rerank, train=TRAIN, **options)


@pytest.fixture(scope="module")
def fitted(tiny_clip, tiny_dataset):
    method = make(tiny_clip)
    method.fit(tiny_dataset["train"], tiny_dataset["validation"])
    return method


def test_two_images_give_two_contexts(tiny_clip):
    """A bottleneck of the joint space, width 16 / 16 = 1: relu(x . u + b) * v + c, for all vectors."""
    learner = make(tiny_clip, n_ctx=3, ctx_init="").learner
    first, last = learner.shift[0], learner.shift[2]
    assert (first.weight.shape, last.weight.shape) == ((1, 16), (32, 1))
    images = torch.eye(16)[:2]
    with torch.no_grad():
        first.weight.zero_()[0, :2] = torch.tensor([2.0, -5.0])
        first.bias.fill_(0.5)
        last.weight.fill_(10.0)
        last.bias.fill_(1.0)
        shift = learner(images) - learner.context.text[0]
    assert shift[0].numpy() == pytest.approx(np.full((3, 32), 26.0))  # (2 + .5) * 10 + 1
    assert shift[1].numpy() == pytest.approx(np.ones((3, 32)))  # -5 + .5 is cut off


def test_a_pair_is_scored_with_the_context_of_its_image(tiny_clip, tiny_dataset):
    method, test = make(tiny_clip, rerank=1), tiny_dataset["test"]
    images, captions = Images.of(test)[:3], test.captions[:4]
    with torch.no_grad():
        found = method.similarity(method.encode_image(images), method.encode_text(captions))
        pooled = tiny_clip.encode_image(images).pooled
        for image in range(3):
            context = method.learner(pooled[image : image + 1])[0]
            texts = tiny_clip.encode_text(captions, Prompts(text=[context])).pooled
            assert found[image].numpy() == pytest.approx((texts @ pooled[image]).numpy(), abs=1e-5)


def test_every_image_of_a_batch_is_trained_with_every_caption(tiny_clip, tiny_dataset):
    """The loss is that of the scores of all pairs, image by image, not of a shortlist."""
    train = tiny_dataset["train"]
    batch = Batch(0, np.arange(5), Images.of(train)[:5], train.captions[:5])
    method = make(tiny_clip, rerank=1)
    with torch.no_grad():
        images, texts = method.encode_image(batch.images), method.encode_text(batch.captions)
        expected = info_nce(tiny_clip.logit_scale * method.similarity(images, texts))
        assert float(make(tiny_clip).loss(batch)) == pytest.approx(float(expected), rel=1e-5)


def test_it_starts_from_the_first_tokens_of_any_words(tiny_clip):
    context = make(tiny_clip, n_ctx=2, ctx_init="xylophone").learner.context.text[0]
    assert torch.equal(context.detach(), tiny_clip.word_embeddings("xylophone")[:2])


def test_only_the_shortlist_is_rescored_and_the_rest_ranks_below(fitted, tiny_dataset):
    """The bar of an image is its sixth best of 24 training captions, each of which is sampled 41 times or 42."""
    test, train = tiny_dataset["test"], tiny_dataset["train"]
    with torch.no_grad():
        images, texts = encode_split(fitted, test)
        scores = fitted.similarity(images, texts)
        frozen = images.pooled @ texts.pooled.T
        known = images.pooled @ fitted.encode_text(train.captions).pooled.T
        everything = make(fitted.backbone, rerank=1)
        everything.learner.load_state_dict(fitted.learner.state_dict())
        rescored = everything.similarity(images, texts)
    bar = known.sort(descending=True).values[:, 5]
    chosen = frozen >= bar[:, None] - 1e-5
    assert 0 < chosen.sum() < chosen.numel()
    assert scores[chosen].numpy() == pytest.approx(rescored[chosen].numpy(), abs=1e-5)
    assert (scores[chosen] - frozen[chosen]).abs().max() > 1e-3
    assert torch.equal(scores[~chosen], (frozen - 2)[~chosen])
    for row, mine in zip(scores, chosen, strict=True):
        if mine.any() and not mine.all():
            assert row[mine].min() > row[~mine].max()


def test_a_sampled_caption_passes_its_own_threshold(fitted, tiny_dataset):
    """Six of 24 for each image, whichever way a product rounds."""
    with torch.no_grad():
        images, texts = encode_split(fitted, tiny_dataset["train"])
        for size in (1, 5, 24):
            scores = torch.cat(
                [
                    fitted.similarity(images, texts[slice(start, start + size)])
                    for start in range(0, 24, size)
                ],
                dim=1,
            )
            assert (scores > -1).sum(dim=1).tolist() == [6] * 24


@pytest.mark.parametrize("block", [1, 5, 7])
def test_ranks_do_not_depend_on_blocks(fitted, tiny_dataset, block):
    """Captions come in blocks in one direction, images in the other."""
    test = tiny_dataset["test"]
    with torch.no_grad():
        images, texts = encode_split(fitted, test)
        whole = rank(fitted.similarity, images, texts, test.pairs, test.row_category, block=24)
        parts = rank(fitted.similarity, images, texts, test.pairs, test.row_category, block=block)
    for one, other in zip(whole, parts, strict=True):
        assert np.array_equal(one.strict, other.strict)
        assert np.array_equal(one.category, other.category)


def test_the_score_of_a_pair_does_not_depend_on_the_gallery(fitted, tiny_dataset):
    """So hard negatives, of which a few are scored at a time, are judged as the gallery is."""
    test = tiny_dataset["test"]
    with torch.no_grad():
        images, texts = encode_split(fitted, test)
        whole = fitted.similarity(images, texts)
        for image in range(0, 24, 5):
            for caption in range(24):
                alone = fitted.similarity(
                    images[image : image + 1], texts[caption : caption + 1]
                ).item()
                assert alone == pytest.approx(float(whole[image, caption]), abs=1e-5)


def test_text_features_are_frozen_and_hold_the_caption(tiny_clip):
    """Cut where the prompted tower will cut, n_ctx tokens earlier."""
    method = make(tiny_clip, n_ctx=4)
    captions = ["a cat and a dog on the left " * 5, "ein Käfer, 甲虫", "a"]
    texts = method.encode_text(captions)
    assert torch.equal(texts.pooled, tiny_clip.encode_text(captions, reserve=4).pooled)
    assert not torch.equal(texts.pooled[0], tiny_clip.encode_text(captions).pooled[0])
    assert texts.captions == tuple(captions)


def test_the_sample_consists_of_training_captions(fitted, tiny_dataset):
    known = fitted.encode_text(tiny_dataset["train"].captions).pooled
    assert len(fitted.learner.sample) == SAMPLE
    nearest = (fitted.learner.sample @ known.T).max(dim=1)
    assert nearest.values.min() > 1 - 1e-5
    assert set(nearest.indices.tolist()) == set(range(24))


def test_too_many_pairs_are_refused_with_their_number(tiny_clip, tiny_dataset):
    method, test = make(tiny_clip, rerank=1, pair_limit=100), tiny_dataset["test"]
    images, texts = encode_split(method, test)
    with pytest.raises(
        FdrdError, match=r"cocoop: 576 pairs of 576.*lower -M rerank=1.*-M pair_limit=576"
    ):
        method.similarity(images, texts)


@pytest.mark.parametrize("share", [0.0, 1.5, -0.1])
def test_a_share_out_of_range_is_refused(tiny_clip, share):
    with pytest.raises(FdrdError, match="must be above 0 and at most 1"):
        make(tiny_clip, rerank=share)


def reference(clip, learner, batch):
    images, hidden, out = clip.images(batch.images), learner.shift[0], learner.shift[2]
    logits = []
    for image in images:
        shift = torch.relu(image @ hidden.weight.T + hidden.bias) @ out.weight.T + out.bias
        texts = clip.texts(batch.captions, context=learner.context.text[0] + shift)
        logits.append(clip.scale * image @ texts.T)
    return torch.stack(logits), symmetric(torch.stack(logits), "image_to_text")


@pytest.mark.slow
def test_it_equals_the_reference(make_clip, tiny_dataset):
    check_equal("cocoop", reference, make_clip, tiny_dataset, **{"rerank": 1} | ONE_WAY)
