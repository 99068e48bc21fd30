"""Splits keep groups together and depend only on seed and group."""

import random
from collections import Counter

from hypothesis import example, given, settings
from hypothesis import strategies as st

from fdrd.curation.splitting import assign_splits
from fdrd.record import ImageRef, Record, Source
from tests.curated import curated


def pair(number, category, group, split=""):
    path = f"{number}.jpg"
    return Record(
        str(number), ImageRef(path), "x", category, Source(path, path), group=group, split=split
    )


@st.composite
def domains(draw):
    size = draw(st.integers(1, 60))
    return [
        pair(number, draw(st.sampled_from("abc")), draw(st.sampled_from("stuvwxyz")), split)
        for number in range(size)
        for split in [draw(st.sampled_from(["", "train", "test"]))]
    ]


@settings(deadline=None, max_examples=30)
@given(domains(), st.integers(0, 3))
def test_groups_stay_together_and_every_category_keeps_training_data(records, seed):
    records = [pair(r.id, r.category, r.group) for r in records]
    found = curated(assign_splits, records, [], seed)
    of_group = {}
    for record in found:
        assert of_group.setdefault(record.group, record.split) == record.split
    in_train = {record.category for record in found if record.split == "train"}
    assert in_train == {record.category for record in records}


def splits_of(records):
    found = curated(assign_splits, records, [], 0)
    return Counter(record.split for record in found), found


def test_categories_with_one_image_each_are_divided_between_the_splits():
    singles = [pair(number, f"c{number}", "") for number in range(500)]
    counts, found = splits_of(singles)
    assert 75 < counts["test"] < 125
    assert 25 < counts["validation"] < 60
    assert {record.rules for record in found} == {("split_by_image",)}


def test_given_splits_are_not_divided_by_image():
    counts, found = splits_of([pair(number, f"c{number}", "", "train") for number in range(50)])
    assert (counts, {record.rules for record in found}) == ({"train": 50}, {()})


def test_categories_with_several_images_keep_one_in_train_beside_single_ones():
    """On both sides of the limit: with as many other images, single categories stay in train."""
    singles = [pair(number, f"c{number}", "") for number in range(100)]
    others = [pair(f"d{number}", f"d{number // 3}", "") for number in range(99)]
    _, found = splits_of([*singles, *others])
    divided = [record for record in found if record.category[0] == "c"]
    assert {record.split for record in divided} == {"train", "validation", "test"}
    assert {r.category for r in found if r.split == "train"} >= {r.category for r in others}
    assert not any(record.rules for record in found if record.category[0] == "d")
    _, found = splits_of([*singles, *others, pair("e", "d0", "")])
    assert {r.split for r in found if r.category[0] == "c"} == {"train"}
    assert not any(record.rules for record in found)


@settings(deadline=None, max_examples=30)
@given(domains(), st.integers(0, 3))
@example(
    [pair(number, *names) for number, names in enumerate(["ax", "az", "bs", "bs", "av", "cz"])], 0
)
def test_splits_do_not_depend_on_the_order_of_records(records, seed):
    shuffled = random.Random(seed).sample(records, len(records))
    one, other = (
        {record.id: record.split for record in curated(assign_splits, each, [], seed)}
        for each in (records, shuffled)
    )
    assert one == other


@settings(deadline=None, max_examples=30)
@given(domains(), st.integers(0, 3))
def test_given_test_splits_are_kept_and_validation_comes_from_train(records, seed):
    for before, after in zip(records, curated(assign_splits, records, [], seed), strict=True):
        if before.split == "test":
            assert after.split == "test"
        if before.split == "train":
            assert after.split in ("train", "validation")


def test_a_given_validation_split_is_kept():
    records = [pair(n, "a", str(n), ("train", "validation")[n % 2]) for n in range(200)]
    found = curated(assign_splits, records, [], 0)
    assert [record.split for record in found] == [record.split for record in records]


def test_split_sizes_match_the_documentation():
    records = [pair(n, "abcd"[n % 4], str(n)) for n in range(10_000)]
    counts = Counter(record.split for record in curated(assign_splits, records, [], 0))
    assert abs(counts["test"] - 2000) < 150
    assert abs(counts["validation"] - 800) < 120
    assert curated(assign_splits, records, [], 0) != curated(assign_splits, records, [], 1)
