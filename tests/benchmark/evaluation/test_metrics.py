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
from benchmark.evaluation.ranking import galleries, rank, rank_galleries
from benchmark.models.backbone import Features
from benchmark.rank_metrics import DIRECTIONS, ByDirection, by_part
from fdrd.errors import FdrdError


def dot(images, texts):
    return images.pooled @ texts.pooled.T


def ranks_of(images, texts, pairs, category=None, **options):
    return rank(
        dot,
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
    return {
        f"{short} {name}": value
        for short, side in zip(("i2t", "t2i"), found, strict=True)
        for name, value in (
            ("strict", side.strict),
            ("caption", side.caption),
            ("category", side.category),
        )
    }


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
    for found in (
        ranks_of(images, texts, pairs, category, block=block),
        ranks_of(images, texts, pairs, category),
    ):
        for name, value in as_dict(found).items():
            assert value == pytest.approx(expected[name], abs=1e-12), name


def test_a_worked_example():
    """Four images, five captions; image 3 has captions 3 and 4.

    Image to text. 0: own .9 is best, rank 1. 1: own .2, above it .8 and .3, rank 3. 2: own .5, one
    equal, rank 2. 3: best own is caption 4 with .6, above it .7, rank 2.
    Text to image, by column. 0: .9 against .8 .1 .7, rank 1. 1: .2 against .1 .5 .2, rank 3 (one
    equal). 2: .5 against .4 .3 .1, rank 1. 3: .1 against .3 .1 .3, rank 4. 4: .6 is best, rank 1.
    """
    scores = np.array(
        [
            [0.9, 0.1, 0.4, 0.3, 0.0],
            [0.8, 0.2, 0.3, 0.1, 0.1],
            [0.1, 0.5, 0.5, 0.3, 0.2],
            [0.7, 0.2, 0.1, 0.1, 0.6],
        ]
    )
    pairs = np.array([[0, 0], [1, 1], [2, 2], [3, 3], [3, 4]])
    found = from_scores(scores, pairs)
    assert found.image_to_text.strict.tolist() == [1, 3, 2, 2]
    assert found.text_to_image.strict.tolist() == [1, 3, 1, 4, 1]
    both = metrics_of(found.image_to_text.strict)
    assert [both[f"R@{k}"] for k in (1, 5, 10)] == [0.25, 1.0, 1.0]
    assert both["MRR"] == pytest.approx((1 + 1 / 3 + 1 / 2 + 1 / 2) / 4)
    assert (both["median rank"], both["mean rank"]) == (2, 2)


@pytest.mark.parametrize("shape", [(7, 13, 511), (33, 101, 7), (64, 997, 129), (1, 5, 3)])
def test_constant_scores_never_win(shape):
    """Wherever equal vectors stand in the matrix product; at 7 x 13 x 511 its edges round apart."""
    n_images, n_captions, width = shape
    rng = np.random.default_rng(0)
    images = np.repeat(rng.normal(size=(1, width)), n_images, axis=0)
    texts = np.repeat(rng.normal(size=(1, width)), n_captions, axis=0)
    pairs = np.stack([np.arange(n_captions) % n_images, np.arange(n_captions)], axis=1)
    found = ranks_of(images, texts, pairs)
    if n_images > 1:
        own = np.bincount(pairs[:, 0])
        assert np.array_equal(found.image_to_text.strict, 1 + n_captions - own)
        assert (found.text_to_image.strict == n_images).all()


def test_a_product_that_rounds_by_place_cannot_break_ties():
    """Matrix kernels round their edges differently; here every place does, on any machine."""

    def uneven(images, texts):
        return dot(images, texts) + 1e-3 * torch.rand(len(images), len(texts))

    constant = Features(torch.ones(9, 4))
    found = rank(uneven, constant, constant, diagonal(9), np.zeros(9, dtype=np.int64))
    assert (found.image_to_text.strict == 9).all()
    assert (found.text_to_image.strict == 9).all()


def test_constant_captions_never_win_against_different_images():
    """Half of the method collapsed: all captions tie for an image, so none is found."""
    rng = np.random.default_rng(0)
    texts = np.repeat(rng.normal(size=(1, 511)), 13, axis=0)
    found = ranks_of(rng.normal(size=(13, 511)), texts, diagonal(13))
    assert (found.image_to_text.strict == 13).all()
    assert metrics_of(found.text_to_image.strict)["R@1"] == 1 / 13  # one image is on top


def test_zero_of_either_sign_ties():
    found = ranks_of(np.array([[1.0], [2.0]]), np.array([[0.0], [-0.0]]), diagonal(2))
    assert found.image_to_text.strict.tolist() == [2, 2]


def test_random_floats_agree_with_the_reference_but_for_near_ties():
    rng = np.random.default_rng(0)
    images, texts = rng.normal(size=(40, 64)), rng.normal(size=(100, 64))
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    pairs = np.stack([np.arange(100) % 40, np.arange(100)], axis=1)
    category = pairs[:, 0] % 5
    scores = images @ texts.T
    low = reference(scores - 1e-6 * (scores == 0), pairs, category)["i2t strict"]
    for block in (1, 7, 40):
        found = ranks_of(images, texts, pairs, category, block=block).image_to_text.strict
        best = np.array([scores[i, pairs[pairs[:, 0] == i, 1]].max() for i in range(40)])
        near = (np.abs(scores - best[:, None]) < 1e-6).sum(axis=1) - 1
        assert (np.abs(found - low) <= near).all()


def test_scaling_scores_changes_no_rank():
    rng = np.random.default_rng(0)
    images, texts = rng.integers(-3, 4, (20, 4)) * 1.0, rng.integers(-3, 4, (20, 4)) * 1.0
    one, other = ranks_of(images, texts, diagonal(20)), ranks_of(8 * images, texts, diagonal(20))
    assert np.array_equal(one.image_to_text.strict, other.image_to_text.strict)


def test_the_number_of_threads_changes_no_rank():
    rng = np.random.default_rng(0)
    images, texts = rng.integers(-3, 4, (50, 9)) * 1.0, rng.integers(-3, 4, (90, 9)) * 1.0
    pairs = np.stack([np.arange(90) % 50, np.arange(90)], axis=1)
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(as_dict(ranks_of(images, texts, pairs)))
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(np.array_equal(found[0][name], other[name]) for name in other)


def test_the_scores_that_a_method_keeps_are_not_touched():
    kept = torch.rand(4, 4)
    before = kept.clone()
    rank(
        lambda images, texts: kept,
        Features(torch.arange(4.0).view(4, 1)),
        Features(torch.arange(4.0).view(4, 1)),
        diagonal(4),
        np.zeros(4, dtype=np.int64),
    )
    assert torch.equal(kept, before)


def test_each_tile_is_scored_once_and_those_with_relevant_pairs_twice_at_most(monkeypatch):
    """Captions come in another order than their images; still, relevant pairs lie in few tiles."""
    monkeypatch.setattr("benchmark.evaluation.ranking.KEPT_BYTES", 0)
    order = np.random.default_rng(0).permutation(60)
    calls = []

    def counted(images, texts):
        calls.append((len(images), len(texts)))
        return dot(images, texts)

    rng = np.random.default_rng(1)
    images, texts = (Features(torch.from_numpy(rng.normal(size=(60, 4)))) for _ in range(2))
    rank(
        counted,
        images,
        texts,
        np.stack([np.arange(60), order], axis=1),
        np.arange(60) % 7,
        block=10,
    )
    assert set(calls) == {(10, 10)}
    assert len(calls) == 36 + 6
    monkeypatch.undo()
    calls.clear()
    rank(counted, images, texts, diagonal(60), np.arange(60) % 7, block=10)
    assert len(calls) == 36


def test_a_pair_with_two_scores_is_an_error(monkeypatch):
    monkeypatch.setattr("benchmark.evaluation.ranking.KEPT_BYTES", 0)
    calls = iter(range(9))
    features = Features(torch.ones(1, 1))
    with pytest.raises(FdrdError, match="two scores"):
        rank(
            lambda i, t: dot(i, t) - next(calls), features, features, diagonal(1), np.zeros(1, int)
        )


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


def test_a_perfect_method_reaches_the_ceiling():
    pairs = np.array([[0, 0], [1, 0], [2, 0], [3, 1], [4, 2], [5, 3], [0, 4]])
    scores = np.zeros((6, 5))
    scores[pairs[:, 0], pairs[:, 1]] = 1 - 0.01 * pairs[:, 0]
    found = from_scores(scores, pairs)
    assert sorted(found.text_to_image.strict) == sorted(found.text_to_image.ceiling)
    scores[0, 4] = 2  # its own caption first, before the one that it shares
    found = from_scores(scores, pairs)
    assert np.array_equal(found.image_to_text.strict, found.image_to_text.ceiling)


def test_a_gallery_per_domain_keeps_other_domains_out():
    """Image 0 finds its caption second, behind one of the other domain."""
    scores = torch.tensor([[0.5, 0.0, 0.9], [0.0, 0.9, 0.0], [0.0, 0.0, 0.9]])
    images, texts = Features(scores), Features(torch.eye(3))
    rows, category, domain = diagonal(3), np.zeros(3, dtype=np.int64), np.array([0, 0, 1])
    apart = rank_galleries(dot, images, texts, rows, category, domain, "domain")
    joint = rank_galleries(dot, images, texts, rows, category, domain, "joint")
    assert apart.image_to_text.strict.tolist() == [1, 1, 1]
    assert joint.image_to_text.strict.tolist() == [2, 1, 1]


def test_each_image_is_a_query_of_one_gallery():
    domain = np.repeat([0, 1], [10, 7])
    found = list(galleries(domain, 5))
    assert all(len(members) == len(set(members)) == 5 for members, _ in found)
    assert sorted(q for _, queries in found for q in queries) == list(range(17))
    assert all(len(set(domain[members])) == 1 for members, _ in found)
    again = list(galleries(domain, 5))
    assert all(np.array_equal(one[0], other[0]) for one, other in zip(found, again, strict=True))


def test_a_gallery_larger_than_a_domain_is_refused():
    with pytest.raises(FdrdError, match="gallery of 8 images cannot be drawn from 7"):
        list(galleries(np.repeat([0, 1], [10, 7]), 8))


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


def test_a_constant_scorer_is_expected_to_hit_as_often_as_chance():
    ranks = from_scores(np.zeros((20, 20)), diagonal(20))
    _, dataset = world([1] * 20, [0] * 20)
    side = measure(ranks, dataset, "domain", {}).by_direction["text_to_image"]
    assert [side[f"R@{k}"] for k in (1, 5, 10)] == [0, 0, 0]
    assert [side[f"expected R@{k}"] for k in (1, 5, 10)] == pytest.approx([0.05, 0.25, 0.5])


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
    """Domain 0: one query, found. Domain 1: four, none found. R@1 = (1 + 0) / 2, not 1 / 5."""
    ranks, dataset = world([1, 2, 2, 2, 2], [0, 1, 1, 1, 1])
    metrics = measure(ranks, dataset, "domain", {})
    assert metrics.by_direction["image_to_text"]["R@1"] == 0.5
    assert metrics.by_direction["image_to_text"].queries == 5
    assert metrics.by_domain["domain 0"]["text_to_image"]["R@1"] == 1
    assert measure(ranks, dataset, "joint", {}).by_direction["image_to_text"]["R@1"] == 0.2


def test_rsum_is_the_sum_of_six_recalls():
    """R@1 1/4, R@5 2/4, R@10 3/4 each way: 2 x 1.5."""
    ranks, dataset = world([1, 3, 7, 11], [0, 0, 0, 0])
    assert measure(ranks, dataset, "domain", {}).by_direction["both"]["R-sum"] == pytest.approx(3.0)


def test_the_breakdown_separates_categories():
    ranks, dataset = world([1, 5, 1, 5], [0, 0, 0, 0])
    metrics = measure(ranks, dataset, "domain", {})
    assert metrics.by_category["cat"]["image_to_text"]["R@1"] == 1
    assert metrics.by_category["dog"]["image_to_text"]["R@1"] == 0


def test_the_interval_of_a_share_is_about_two_standard_errors_wide():
    """100 of 400 found: the standard error is sqrt(.25 x .75 / 400) = 0.0217, so .25 -+ .042."""
    ranks, dataset = world([1, 20, 20, 20] * 100, [0] * 400)
    low, high = measure(ranks, dataset, "domain", {}).by_direction["image_to_text"].intervals["R@1"]
    assert low == pytest.approx(0.25 - 0.0424, abs=0.008)
    assert high == pytest.approx(0.25 + 0.0424, abs=0.008)


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


def test_the_interval_of_a_mean_over_domains_lies_around_it():
    """Half of domain 0 and all of domain 1 are found: (0.5 + 1) / 2."""
    ranks, dataset = world([1, 20] * 50 + [1] * 50, [0] * 100 + [1] * 50)
    low, high = measure(ranks, dataset, "domain", {}).by_direction["image_to_text"].intervals["R@1"]
    assert low < 0.75 < high
    assert high - low < 0.15  # one domain alone decides it, at half its weight


def test_the_interval_is_wide_where_all_queries_succeed():
    """Wilson's lower end for 10 of 10: 10 / (10 + 1.96 ** 2) = 0.722; of 100: 0.963."""
    ranks, dataset = world([1] * 10, [0] * 10)
    metrics = measure(ranks, dataset, "domain", {})
    for name in ("R@1", "MRR"):
        assert metrics.by_direction["text_to_image"].intervals[name] == pytest.approx(
            (0.7225, 1), abs=1e-4
        )
    assert metrics.by_direction["both"].intervals["R-sum"] == pytest.approx(
        (6 * 0.7225, 6), abs=1e-3
    )
