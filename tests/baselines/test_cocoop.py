"""CoCoOp encodes a caption in a context that depends on the image, for the pairs of a shortlist."""

import numpy as np
import pytest
import torch

from benchmark import Images, TrainConfig, get_method, info_nce
from benchmark.evaluation.encoding import encode_split
from benchmark.training.loop import Batch
from fdrd.errors import FdrdError

TRAIN = TrainConfig(epochs=1, batch_size=8, learning_rate=0.05)
SHARE = 0.24


def make(backbone, rerank=SHARE, **options):
    return get_method("cocoop")(backbone, rerank=rerank, train=TRAIN, **options)


@pytest.fixture(scope="module")
def fitted(tiny_clip, tiny_dataset):
    method = make(tiny_clip)
    method.fit(tiny_dataset["train"], tiny_dataset["validation"])
    return method


def test_every_image_of_a_batch_is_trained_with_every_caption(tiny_clip, tiny_dataset):
    """The loss is that of the scores of all pairs, image by image, not of a shortlist."""
    train = tiny_dataset["train"]
    batch = Batch(0, np.arange(5), Images.of(train)[:5], train.captions[:5])
    method = make(tiny_clip, rerank=1)
    with torch.no_grad():
        images, texts = method.encode_image(batch.images), method.encode_text(batch.captions)
        expected = info_nce(tiny_clip.logit_scale * method.similarity(images, texts))
        assert float(make(tiny_clip).loss(batch)) == pytest.approx(float(expected), rel=1e-5)


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
            blocks = [texts[start : start + size] for start in range(0, 24, size)]
            scores = torch.cat([fitted.similarity(images, block) for block in blocks], dim=1)
            assert (scores > -1).sum(dim=1).tolist() == [6] * 24


def test_the_score_of_a_pair_does_not_depend_on_the_gallery(fitted, tiny_dataset):
    """So neither blocks of a gallery nor the few hard negatives of an image change a score."""
    with torch.no_grad():
        images, texts = encode_split(fitted, tiny_dataset["test"])
        whole = fitted.similarity(images, texts)
        assert ((whole > -1).sum(dim=1) < 24).any()
        for image in range(0, 24, 8):
            for caption in range(24):
                alone = fitted.similarity(images[[image]], texts[[caption]]).item()
                assert alone == pytest.approx(float(whole[image, caption]), abs=1e-5)


def test_too_many_pairs_are_refused_with_their_number(tiny_clip, tiny_dataset):
    method, test = make(tiny_clip, rerank=1, pair_limit=100), tiny_dataset["test"]
    images, texts = encode_split(method, test)
    with pytest.raises(
        FdrdError, match=r"cocoop: 576 pairs of 576.*lower -M rerank=1.*-M pair_limit=576"
    ):
        method.similarity(images, texts)
