"""NNN lowers the score of a candidate that is near to the queries of training."""

from itertools import product

import numpy as np
import pytest
import torch

import baselines.nnn
from baselines.nnn import NNN
from benchmark import Features, get_method
from benchmark.evaluation.encoding import encode_split, rank_split


class Plane:
    """A backbone whose images and captions are directions in the plane, in degrees."""

    dim = 2

    def encode_image(self, images):
        angles = torch.deg2rad(torch.tensor(images))
        return Features(torch.stack([angles.cos(), angles.sin()], dim=1))

    encode_text = encode_image


def plane(images, captions, alpha, k):
    """An NNN that has seen training images and captions."""
    method = NNN(Plane(), alpha, k)
    method.images.kept = Plane().encode_image(images).pooled
    method.captions.kept = Plane().encode_text(captions).pooled
    for bank in (method.images, method.captions):
        bank.choose(alpha, k)
    return method


def cos(degrees):
    return float(np.cos(np.deg2rad(degrees)))


def score(method, images, captions):
    return np.asarray(method.similarity(method.encode_image(images), method.encode_text(captions)))


def test_a_score_is_corrected_for_image_and_caption_by_hand():
    """An image at 0 and a caption at 90 degrees; training captions at 30, 60 and 120, images at 90, 210.

    The image's two nearest captions are at 30 and 60: alpha / 2 * (cos 30 + cos 60).
    The caption's two nearest images are at 0 and 120 from it: alpha / 2 * (cos 0 + cos 120).
    """
    method = plane([90, 210], [30, 60, 120], alpha=0.5, k=2)
    expected = cos(90) - 0.25 * (cos(30) + cos(60)) - 0.25 * (cos(0) + cos(120))
    assert score(method, [0], [90]) == pytest.approx(expected, abs=1e-6)


def test_more_neighbors_than_queries_means_all_queries():
    many, three = (plane([10, 20], [1, 2, 3], 0.5, k) for k in (100, 3))
    three.images.choose(0.5, 2)
    assert score(many, [0], [40]) == pytest.approx(score(three, [0], [40]))


def test_features_have_unit_length_at_maximum_strength():
    method = plane([90], [0], alpha=2.0, k=1)
    for features in (method.encode_image([0, 180]), method.encode_text([90, 270])):
        assert features.pooled.norm(dim=1) == pytest.approx(torch.ones(2), abs=1e-6)
    assert score(method, [0], [90]) == pytest.approx(cos(90) - 2 - 2, abs=1e-6)


def zero_shot(backbone, dataset):
    return encode_split(get_method("zero_shot")(backbone), dataset)


def nearness(candidates, queries, k):
    """Mean of the k highest cosines, the slow way."""
    cosines = np.asarray(candidates.pooled.double() @ queries.pooled.double().T)
    return np.sort(cosines, axis=1)[:, -k:].mean(axis=1)


def test_one_score_gives_each_direction_the_ranks_of_its_own_correction(tiny_clip, tiny_dataset):
    """Image to text is ranked by s - b(caption) alone, text to image by s - b(image) alone."""
    method, test = get_method("nnn")(tiny_clip, alpha=0.75, k=3), tiny_dataset["test"]
    method.fit(tiny_dataset["train"], tiny_dataset["validation"])
    ranks = rank_split(method, *encode_split(method, test), test)
    images, texts = zero_shot(tiny_clip, test)
    train_images, train_texts = zero_shot(tiny_clip, tiny_dataset["train"])
    scores = np.asarray(images.pooled.double() @ texts.pooled.double().T)
    to_text = scores - 0.75 * nearness(texts, train_images, 3)
    to_image = scores - 0.75 * nearness(images, train_texts, 3)[:, None]
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
