"""NNN lowers the score of a candidate that is near to the queries of training."""

from itertools import product

import numpy as np
import pytest

import baselines.nnn
from benchmark import get_method
from benchmark.evaluation.encoding import encode_split, rank_split


def zero_shot(backbone, dataset):
    return encode_split(get_method("zero_shot")(backbone), dataset)


def nearness(candidates, queries, k):
    """Mean of the k highest cosines, the slow way."""
    cosines = np.asarray(candidates.pooled.double() @ queries.pooled.double().T)
    return np.sort(cosines, axis=1)[:, -k:].mean(axis=1)


@pytest.mark.parametrize("k", [3, 100])
def test_one_score_gives_each_direction_the_ranks_of_its_own_correction(k, tiny_clip, tiny_dataset):
    """Image to text is ranked by s - b(caption) alone, text to image by s - b(image) alone.

    Of 24 queries, 100 neighbors are all.
    """
    method, test = get_method("nnn")(tiny_clip, alpha=0.75, k=k), tiny_dataset["test"]
    method.fit(tiny_dataset["train"], tiny_dataset["validation"])
    ranks = rank_split(method, *encode_split(method, test), test)
    images, texts = zero_shot(tiny_clip, test)
    train_images, train_texts = zero_shot(tiny_clip, tiny_dataset["train"])
    scores = np.asarray(images.pooled.double() @ texts.pooled.double().T)
    to_text = scores - 0.75 * nearness(texts, train_images, k)
    to_image = scores - 0.75 * nearness(images, train_texts, k)[:, None]
    image, caption = test.pairs.T
    own_text = [(to_text[i] >= to_text[i, c]).sum() for i, c in sorted(test.pairs.tolist())]
    own_image = (to_image[:, caption] >= to_image[image, caption]).sum(axis=0)
    assert ranks.image_to_text.strict.tolist() == own_text
    assert ranks.text_to_image.strict.tolist() == own_image.tolist()
    plain = rank_split(get_method("zero_shot")(tiny_clip), images, texts, test)
    for corrected, before in zip(ranks, plain, strict=True):
        assert corrected.strict.tolist() != before.strict.tolist()


def test_each_direction_gets_its_best_setting_on_validation(tiny_clip, tiny_dataset, monkeypatch):
    """Tried by hand, one after another, with both directions read off the same ranks."""
    monkeypatch.setattr(baselines.nnn, "ALPHAS", (0.25, 1.0))
    monkeypatch.setattr(baselines.nnn, "KS", (1, 8))
    train, validation = tiny_dataset["train"], tiny_dataset["validation"]
    method = get_method("nnn")(tiny_clip)
    method.fit(train, validation)
    banks = (method.images, method.captions)
    chosen = [(float(bank.alpha), int(bank.k)) for bank in banks]
    tried = {}
    for setting in [(0.0, 1), *product((0.25, 1.0), (1, 8))]:
        for bank in banks:
            bank.choose(*setting)
        ranks = rank_split(method, *encode_split(method, validation), validation)
        tried[setting] = [float((1 / side.strict).mean()) for side in ranks]
    best = [max(tried, key=lambda each: tried[each][direction]) for direction in (0, 1)]
    assert chosen == best
    assert best[0] != best[1]  # else the test would not tell them apart
