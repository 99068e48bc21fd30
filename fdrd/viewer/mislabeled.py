"""Records whose category is likely wrong: their image disagrees with it, or the image has two categories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from fdrd.viewer.facets import Floats, Indices

FOLDS = 5
_SHRINKAGE = 0.1
"""Share of the mean variance that is added to each direction, because there may be more directions than images."""
_FEWEST = 3  # images of a category without which its features are not known
_BLOCK = 4096


def class_scores(
    vectors: Floats, labels: Indices, folds: Indices
) -> Iterator[tuple[npt.NDArray[np.int64], Floats]]:
    """Yield images, a few thousand at a time, and the (B, K) scores of the classes, learned from the other folds.

    The classifier is a linear discriminant with one shrunk covariance for all classes, which are equally likely
    before the image is seen; it has a closed form.

    Args:
        vectors: (I, d) features of the images.
        labels: (I,) class of each image, below K.
        folds: (I,) fold of each image, below `FOLDS`; similar images share theirs.
    """
    classes, d = int(labels.max()) + 1, vectors.shape[1]
    rows_of = [np.flatnonzero(folds == fold) for fold in range(FOLDS)]
    counts = np.array([np.bincount(labels[rows], minlength=classes) for rows in rows_of])
    sums, squares = np.zeros((FOLDS, classes, d)), np.zeros((FOLDS, d, d))
    for fold, rows in enumerate(rows_of):
        for some in _blocks(rows):
            x = vectors[some].astype(np.float64)
            np.add.at(sums[fold], labels[some], x)
            squares[fold] += x.T @ x
    for fold, rows in enumerate(rows_of):
        count, total = counts.sum(axis=0) - counts[fold], sums.sum(axis=0) - sums[fold]
        if not count.any():
            continue
        means = total / np.maximum(count, 1)[:, None]
        scatter = squares.sum(axis=0) - squares[fold] - total.T @ means
        covariance = scatter / count.sum()
        floor = _SHRINKAGE * float(np.trace(covariance)) / d + 1e-9
        weights = np.linalg.solve(covariance + floor * np.eye(d), means.T)
        offsets = np.where(count, -0.5 * np.sum(means * weights.T, axis=1), -np.inf)
        for some in _blocks(rows):
            yield some, (vectors[some] @ weights + offsets).astype(np.float32)


def _blocks(rows: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    return (rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK))


def likely_mislabeled(
    vectors: Floats, image: Indices, category: Indices, domain: Indices, groups: Sequence[str]
) -> tuple[Indices, Indices]:
    """Return rows whose category is likely wrong, the least doubtful last, and a better category for each.

    First come images that have several categories, then images that other images of their domain place in another
    category, by how much better it fits.

    Args:
        vectors: (I, d) features of the images.
        image: (N,) image of each row; -1 for none.
        category: (N,) category of each row.
        domain: (N,) domain of each row.
        groups: (N,) group of each row; images of one group, e.g. near duplicates, are not learned from each other.

    Returns:
        Two arrays: rows, and the category that fits each better, -1 where it has several already.
    """
    rows = np.flatnonzero(image >= 0)
    pairs = np.unique(np.stack([image[rows], category[rows]]), axis=1)
    several = np.flatnonzero(np.bincount(pairs[0], minlength=len(vectors)) > 1)
    contradicted = rows[np.isin(image[rows], several)]
    contradicted = contradicted[np.argsort(image[contradicted], kind="stable")]
    doubt = np.full(len(vectors), -np.inf, np.float32)
    better = np.full(len(vectors), -1, np.int32)
    images, first = np.unique(image[rows], return_index=True)
    first = rows[first]
    for each in np.unique(domain):
        here = ~np.isin(images, several) & (domain[first] == each)
        some, row_of = images[here], first[here]
        names = [groups[row] for row in row_of]
        for which, margin, other in _doubts(vectors[some], category[row_of], names):
            doubt[some[which]], better[some[which]] = margin, other
    order = rows[np.argsort(-doubt[image[rows]], kind="stable")]
    order = order[doubt[image[order]] > 0]
    found = np.concatenate([contradicted, order]).astype(np.int32)
    suggested = np.where(np.arange(len(found)) < len(contradicted), -1, better[image[found]])
    return found, suggested.astype(np.int32)


def _doubts(
    vectors: Floats, category: Indices, groups: Sequence[str]
) -> Iterator[tuple[npt.NDArray[np.int64], Floats, Indices]]:
    """Yield images of one domain, how much better another class fits each, and which."""
    classes, labels = np.unique(category, return_inverse=True)
    if len(classes) < 2:
        return
    fold_of = {name: index % FOLDS for index, name in enumerate(dict.fromkeys(groups))}
    folds = np.array([fold_of[name] for name in groups], np.int32)
    judged = np.bincount(labels) >= _FEWEST
    for rows, scores in class_scores(vectors, labels.astype(np.int32), folds):
        position = np.arange(len(rows))
        assigned = scores[position, labels[rows]].copy()
        scores[position, labels[rows]] = -np.inf
        scores[:, ~judged] = -np.inf
        best = scores.argmax(axis=1)
        margin = scores[position, best] - np.where(np.isfinite(assigned), assigned, np.inf)
        known = judged[labels[rows]] & np.isfinite(margin)
        yield rows[known], margin[known], classes[best[known]]
