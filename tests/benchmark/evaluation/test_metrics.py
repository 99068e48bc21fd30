"""Ranks and what is made of them, against arithmetic by hand and a reference that sorts it all."""

from dataclasses import replace
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.evaluation.encoding import measure
from benchmark.evaluation.ranking import galleries, rank
from benchmark.models.backbone import Features
from benchmark.rank_metrics import DIRECTIONS, ByDirection, by_part
from fdrd.errors import FdrdError


def dot(images, texts):
    return images.pooled @ texts.pooled.T


def ranks_of(images, texts, pairs, category=None, similarity=dot, **options):
    return rank(
        similarity,
        Features(torch.from_numpy(images).float()),
        Features(torch.from_numpy(texts).float()),
        pairs,
        np.zeros(len(pairs), dtype=np.int64) if category is None else category,
        **options,
    )


def from_scores(scores, pairs, category=None):
    """Ranks for a given (I, C) score matrix: the images are its rows, the captions unit vectors."""
    return ranks_of(scores, np.eye(scores.shape[1]), pairs, category)


def metrics_of(strict):
    """The metrics of strict ranks."""
    everything = np.ones(len(strict), dtype=bool)
    ranks = {direction: {"strict": strict} for direction in DIRECTIONS}
    return by_part(ranks, [(everything, everything)])[0]["image_to_text"]


def diagonal(n):
    return np.stack([np.arange(n), np.arange(n)], axis=1)


def reference(scores, pairs, category):
    """Everything from one full matrix of rows by rows, sorted, irrelevant items first among equals."""

    def first(values, relevant):
        return 1 + int(np.argmax(relevant[np.lexsort((relevant, -values))]))

    image, caption = pairs.T
    out = {}

    def put(name, value):
        out.setdefault(name, []).append(value)

    for i in range(scores.shape[0]):
        mine = image == i
        row = scores[i, caption]
        same_text = np.isin(caption, caption[mine])
        put("i2t strict", first(row, mine))
        put("i2t caption", first(row, same_text))
        put("i2t category", int(first(row, category == category[mine][0]) == 1))
    image_category = np.array([category[image == i][0] for i in range(scores.shape[0])])
    for n in range(len(pairs)):
        column = scores[:, caption[n]]
        numbers = np.arange(scores.shape[0])
        put("t2i strict", first(column, numbers == image[n]))
        with_text = np.isin(numbers, image[caption == caption[n]])
        put("t2i caption", first(column, with_text))
        put("t2i category", int(first(column, image_category == category[n]) == 1))
    return {name: np.array(values) for name, values in out.items()}


def as_dict(found):
    names = ("strict", "caption", "category")
    sides = zip(("i2t", "t2i"), found, strict=True)
    return {f"{short} {name}": getattr(side, name) for short, side in sides for name in names}


@st.composite
def small_worlds(draw):
    """Integer features with many ties, several captions per image, captions shared by images."""
    n_images, n_captions = draw(st.integers(1, 7)), draw(st.integers(1, 9))
    wild = st.tuples(st.integers(0, n_images - 1), st.integers(0, n_captions - 1))
    rows = draw(st.lists(wild, max_size=14))
    rows += [(i, draw(st.integers(0, n_captions - 1))) for i in range(n_images)]
    rows += [(draw(st.integers(0, n_images - 1)), c) for c in range(n_captions)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    pairs = np.array(rows)[rng.permutation(len(rows))]
    images = rng.integers(-2, 3, size=(n_images, 3)).astype(np.float64)
    texts = rng.integers(-2, 3, size=(n_captions, 3)).astype(np.float64)
    category = rng.integers(0, 3, size=n_images)[pairs[:, 0]]
    return images, texts, pairs, category


@given(small_worlds(), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_ranks_equal_the_reference_for_any_block_size(world, block):
    images, texts, pairs, category = world
    expected = reference(images @ texts.T, pairs, category)
    for options in ({"block": block}, {}):
        found = as_dict(ranks_of(images, texts, pairs, category, **options))
        for name, value in found.items():
            assert value == pytest.approx(expected[name], abs=1e-12), name


def test_random_floats_agree_with_the_reference_but_for_near_ties():
    rng = np.random.default_rng(0)
    images, texts = rng.normal(size=(40, 64)), rng.normal(size=(100, 64))
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    pairs = np.stack([np.arange(100) % 40, np.arange(100)], axis=1)
    category, scores = pairs[:, 0] % 5, images @ texts.T
    expected = reference(scores, pairs, category)["i2t strict"]
    found = ranks_of(images, texts, pairs, category, block=7).image_to_text.strict
    best = np.array([scores[i, pairs[pairs[:, 0] == i, 1]].max() for i in range(40)])
    near = (np.abs(scores - best[:, None]) < 1e-6).sum(axis=1) - 1
    assert (np.abs(found - expected) <= near).all()


def test_a_worked_example():
    """Four images, five captions; image 3 has captions 3 and 4.

    Image to text. 0: own .9 is best, rank 1. 1: own .2, above it .8 and .3, rank 3. 2: own .5, one
    equal, rank 2. 3: best own is caption 4 with .6, above it .7, rank 2.
    Text to image, by column. 0: .9 against .8 .1 .7, rank 1. 1: .2 against .1 .5 .2, rank 3 (one
    equal). 2: .5 against .4 .3 .1, rank 1. 3: .1 against .3 .1 .3, rank 4. 4: .6 is best, rank 1.
    """
    rows = (
        "0.9 0.1 0.4 0.3 0.0",
        "0.8 0.2 0.3 0.1 0.1",
        "0.1 0.5 0.5 0.3 0.2",
        "0.7 0.2 0.1 0.1 0.6",
    )
    scores = np.array([row.split() for row in rows], dtype=float)
    found = from_scores(scores, np.array([[0, 0], [1, 1], [2, 2], [3, 3], [3, 4]]))
    assert found.image_to_text.strict.tolist() == [1, 3, 2, 2]
    assert found.text_to_image.strict.tolist() == [1, 3, 1, 4, 1]
    both = metrics_of(found.image_to_text.strict)
    assert [both[f"R@{k}"] for k in (1, 5, 10)] == [0.25, 1.0, 1.0]
    assert both["MRR"] == pytest.approx((1 + 1 / 3 + 1 / 2 + 1 / 2) / 4)
    assert (both["median rank"], both["mean rank"]) == (2, 2)


def test_a_product_that_rounds_by_place_cannot_break_ties():
    """Matrix kernels round their edges differently; here every place does, on any machine."""

    def uneven(images, texts):
        return dot(images, texts) + 1e-3 * torch.rand(len(images), len(texts))

    found = ranks_of(np.ones((9, 4)), np.ones((9, 4)), diagonal(9), similarity=uneven)
    assert (found.image_to_text.strict == 9).all()
    assert (found.text_to_image.strict == 9).all()


def test_zero_of_either_sign_ties():
    found = ranks_of(np.array([[1.0], [2.0]]), np.array([[0.0], [-0.0]]), diagonal(2))
    assert found.image_to_text.strict.tolist() == [2, 2]


def test_the_scores_that_a_method_keeps_are_not_touched():
    kept, vectors = torch.rand(4, 4), np.arange(4.0).reshape(4, 1)
    before = kept.clone()
    ranks_of(vectors, vectors, diagonal(4), similarity=lambda _images, _texts: kept)
    assert torch.equal(kept, before)


@pytest.mark.parametrize(("kept", "calls"), [(0, 36 + 6), (2**30, 36)])
def test_each_tile_is_scored_once_and_those_with_relevant_pairs_twice_at_most(
    monkeypatch, kept, calls
):
    """Captions come in another order than their images; still, relevant pairs lie in few tiles."""
    monkeypatch.setattr("benchmark.evaluation.ranking.KEPT_BYTES", kept)
    rng = np.random.default_rng(1)
    pairs = np.stack([np.arange(60), rng.permutation(60)], axis=1)
    seen = []

    def counted(images, texts):
        seen.append((len(images), len(texts)))
        return dot(images, texts)

    ranks_of(
        rng.normal(size=(60, 4)), rng.normal(size=(60, 4)), pairs, similarity=counted, block=10
    )
    assert seen == [(10, 10)] * calls


def test_a_pair_with_two_scores_is_an_error(monkeypatch):
    monkeypatch.setattr("benchmark.evaluation.ranking.KEPT_BYTES", 0)
    calls, one = iter(range(9)), np.ones((1, 1))
    with pytest.raises(FdrdError, match="two scores"):
        ranks_of(one, one, diagonal(1), similarity=lambda i, t: dot(i, t) - next(calls))


def test_nan_scores_are_an_error():
    scores = np.eye(3)
    scores[1, 1] = np.nan
    with pytest.raises(FdrdError, match="contain NaN"):
        from_scores(scores, diagonal(3))


def test_an_image_without_a_row_is_refused():
    with pytest.raises(ValueError, match="3 images have features, but not all are in a row"):
        from_scores(np.eye(3), np.array([[0, 0], [1, 1], [1, 2]]))


def test_recall_of_no_ranks_is_an_error():
    with pytest.raises(ValueError, match="no queries"):
        metrics_of(np.array([], dtype=np.int64))


def test_ceilings_of_shared_captions():
    """UCF101 in small: 6 rows, 4 distinct captions; one caption is on three images.

    A perfect method gives the three images the same scores with it. Text to image it can put one of
    them first for all three rows: 4 of 6. Image to text three images have the caption that two
    other rows hold: rank 3, so 3 of 6 (rows with a caption of their own).
    """
    pairs = np.array([[0, 0], [1, 0], [2, 0], [3, 1], [4, 2], [5, 3]])
    found = from_scores(np.ones((6, 4)), pairs)
    assert (found.text_to_image.ceiling <= 1).mean() == 4 / 6
    assert (found.image_to_text.ceiling <= 1).mean() == 3 / 6
    assert found.image_to_text.ceiling.tolist() == [3, 3, 3, 1, 1, 1]


def test_each_image_is_a_query_of_one_gallery():
    domain = np.repeat([0, 1], [10, 7])
    found, again = list(galleries(domain, 5)), list(galleries(domain, 5))
    assert all(len(members) == len(set(members)) == 5 for members, _ in found)
    assert sorted(q for _, queries in found for q in queries) == list(range(17))
    assert all(len(set(domain[members])) == 1 for members, _ in found)
    assert all(np.array_equal(one[0], other[0]) for one, other in zip(found, again, strict=True))
    with pytest.raises(FdrdError, match="gallery of 8 images cannot be drawn from 7"):
        list(galleries(domain, 8))


def test_expected_recalls_are_means_over_all_orders_of_tied_items():
    """Image 0 has two captions. Scores of 0 and 1 tie often."""
    pairs = np.array([[0, 0], [0, 1], [1, 2], [2, 3], [3, 4], [4, 5]])
    scores = np.random.default_rng(3).integers(0, 2, (5, 6)).astype(float)
    found = from_scores(scores, pairs)

    def expected(values, relevant):
        hits = []
        for order in permutations(range(len(values))):
            ranked = sorted(order, key=lambda item: -values[item])
            hits.append([bool(set(ranked[:k]) & relevant) for k in (1, 5, 10)])
        return np.mean(hits, axis=0)

    for image in range(5):
        own = set(np.flatnonzero(pairs[:, 0] == image).tolist())
        wanted = expected(scores[image], own)
        assert found.image_to_text.expected[image] == pytest.approx(wanted)
    for row, image in enumerate(pairs[:, 0]):
        wanted = expected(scores[:, row], {image})
        assert found.text_to_image.expected[row] == pytest.approx(wanted)


def world(ranks, domain):
    """Ranks of a one-to-one dataset of the given strict ranks in both directions."""
    n = len(ranks)
    side = from_scores(np.eye(n), diagonal(n)).image_to_text
    side = replace(side, strict=np.array(ranks))
    dataset = SimpleNamespace(
        pairs=diagonal(n),
        image_digests=[str(i) for i in range(n)],
        image_category=np.arange(n) % 2,
        row_category=np.arange(n) % 2,
        categories=["cat", "dog"],
        image_domain=np.array(domain),
        domains=[f"domain {i}" for i in range(max(domain) + 1)],
    )
    return ByDirection(side, side), dataset


def test_numbers_are_the_unweighted_mean_over_domains():
    """Domain 0: one query, found. Domain 1: four, none found. R@1 = (1 + 0) / 2, not 1 / 5.

    R@5 and R@10 are 1, so the sum of both ways is 2 x 2.5. Categories take turns.
    """
    ranks, dataset = world([1, 2, 2, 2, 2], [0, 1, 1, 1, 1])
    metrics = measure(ranks, dataset, "domain", {})
    assert metrics.by_direction["image_to_text"]["R@1"] == 0.5
    assert metrics.by_direction["image_to_text"].queries == 5
    assert metrics.by_direction["both"]["R-sum"] == pytest.approx(5.0)
    assert metrics.by_domain["domain 0"]["text_to_image"]["R@1"] == 1
    by_category = {name: each["image_to_text"]["R@1"] for name, each in metrics.by_category.items()}
    assert by_category == {"cat": pytest.approx(1 / 3), "dog": 0}
    assert measure(ranks, dataset, "joint", {}).by_direction["image_to_text"]["R@1"] == 0.2


def test_the_interval_counts_images_and_not_captions():
    """Ten captions per image, all found or all lost with it: as wide as for one caption each."""
    ranks, dataset = world([1, 20] * 50, [0] * 100)
    narrow = measure(ranks, dataset, "domain", {}).by_direction["text_to_image"].intervals["R@1"]
    many = np.repeat(np.arange(100), 10)
    dataset.pairs = np.stack([many, np.arange(1000)], axis=1)
    dataset.row_category = many % 2
    wide = measure(ByDirection(ranks[0], ranks[1][many]), dataset, "domain", {})
    interval = wide.by_direction["text_to_image"].intervals["R@1"]
    assert interval[1] - interval[0] == pytest.approx(narrow[1] - narrow[0], abs=0.02)


def test_the_interval_is_wide_where_all_queries_succeed():
    """Wilson's lower end for 10 of 10: 10 / (10 + 1.96 ** 2) = 0.722."""
    ranks, dataset = world([1] * 10, [0] * 10)
    found = measure(ranks, dataset, "domain", {}).by_direction
    for name in ("R@1", "MRR"):
        assert found["text_to_image"].intervals[name] == pytest.approx((0.7225, 1), abs=1e-4)
    assert found["both"].intervals["R-sum"] == pytest.approx((6 * 0.7225, 6), abs=1e-3)
