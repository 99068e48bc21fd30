"""Which records are said to be mislabeled: planted ones come first, and an image is not judged by its own copy."""

import numpy as np
import pytest

from fdrd.viewer.mislabeled import likely_mislabeled


def clusters(classes=8, each=15, d=16, spread=0.4):
    """Images around one center per class: features, and the class of each."""
    chance = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), each).astype(np.int32)
    centers = chance.normal(size=(classes, d))
    return (centers[labels] + spread * chance.normal(size=(len(labels), d))).astype(
        np.float32
    ), labels


def found(vectors, image, category, groups=None):
    domain = np.zeros(len(image), np.int32)
    names = [str(n) for n in image] if groups is None else groups
    return likely_mislabeled(vectors, np.asarray(image, np.int32), category, domain, names)


def test_planted_labels_come_first_with_the_right_one():
    vectors, labels = clusters()
    wrong = labels.copy()
    planted = [3, 40, 77, 101]
    wrong[planted] = (labels[planted] + 3) % 8
    rows, better = found(vectors, np.arange(len(labels)), wrong)
    assert sorted(rows[:4].tolist()) == planted
    assert better[:4].tolist() == labels[rows[:4]].tolist()
    assert len(found(vectors, np.arange(len(labels)), labels)[0]) == 0


def test_an_image_with_two_categories_comes_before_all_others():
    vectors, labels = clusters()
    image, category = (
        np.append(np.arange(120), 50),
        np.append(labels, (labels[50] + 1) % 8).astype(np.int32),
    )
    category[7] = (labels[7] + 2) % 8
    rows, better = found(vectors, image, category)
    assert rows.tolist() == [50, 120, 7]
    assert better.tolist() == [-1, -1, labels[7]]


@pytest.mark.parametrize("each", [2, 3])
def test_a_category_of_few_images_is_not_judged(each):
    vectors, labels = clusters(classes=2, each=10)
    chance = np.random.default_rng(1)
    vectors = np.concatenate(
        [vectors, vectors[:each] + 0.01 * chance.normal(size=(each, 16)).astype(np.float32)]
    )
    category = np.append(labels, [2] * each).astype(np.int32)
    rows, _ = found(vectors, np.arange(len(category)), category)
    assert bool(set(rows.tolist()) & set(range(20, 20 + each))) == (each >= 3)
