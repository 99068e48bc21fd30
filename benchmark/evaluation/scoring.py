"""Optional scoring of a method at test time beyond the similarity of features.

A method with an attribute `scoring` may rescore a shortlist pair by pair, or leak images to captions. Its
`remarks` are printed with its results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from benchmark.models.backbone import Features
from benchmark.models.image_batches import AnyImages
from benchmark.registry import Method
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError
from fdrd.progress import Progress, silent

PairScores = Callable[[Features, Features], Tensor]
"""Features of n images and of n captions -> (n,) scores within [-1, 1]."""

Leak = Callable[[Sequence[str], AnyImages], Features]
"""Captions and the image of each -> features of the captions that depend on their images."""

PAIRS = 256
"""Pairs rescored at a time."""

BELOW = 3.0
"""Subtracted from a cosine, puts it below every other cosine."""


@dataclass(frozen=True)
class Shortlist:
    """Rescores the best items of each query pair by pair; all others stay below them.

    Attributes:
        size: items per query; more if the last of them is tied.
        pair_limit: maximum number of pairs that a run may rescore.
        score: scores of the pairs.
    """

    size: int
    pair_limit: int
    score: PairScores


@dataclass(frozen=True)
class Scoring:
    """Test-time scoring of a method. Epochs are selected without it.

    Attributes:
        remarks: caveats of its results: a tag for the method's name, and the sentence it stands for.
        shortlist: what is rescored.
        leak: features of captions that depend on their images. That is not retrieval, and is marked.
    """

    remarks: Mapping[str, str] = field(default_factory=dict)
    shortlist: Shortlist | None = None
    leak: Leak | None = None


def scoring_of(method: Method) -> Scoring:
    """Return a method's test-time scoring, by default none."""
    found: Scoring = getattr(method, "scoring", Scoring())
    return found


class Reranker:
    """Rescores the best items of queries.

    Args:
        shortlist: what to rescore.
        pairs: total number of pairs, for the progress.
        progress: receives the pairs done.
    """

    def __init__(self, shortlist: Shortlist, pairs: int, progress: Progress = silent):
        self.shortlist = shortlist
        self.pairs = pairs
        self.progress = progress
        self.done = 0

    def rescore_best(self, scores: Tensor, images: Features, texts: Features, dim: int) -> Tensor:
        """Return (I, C) scores with the highest along `dim` rescored and the others below them.

        Args:
            scores: (I, C) first scores.
            images: features of the I images.
            texts: features of the C captions.
            dim: 1 for the captions of each image, 0 for the images of each caption.
        """
        size = min(self.shortlist.size, scores.shape[dim])
        bar = scores.topk(size, dim=dim).values.narrow(dim, size - 1, 1)
        return self.rescore(scores - BELOW, (scores >= bar).nonzero(), images, texts)

    def rescore(self, scores: Tensor, pairs: Tensor, images: Features, texts: Features) -> Tensor:
        """Return (I, C) scores with those of the pairs (n, 2) of image and caption replaced."""
        scores = scores.clone()
        pairs = pairs[pairs[:, 1].argsort(stable=True)]  # pairs of one caption share its encoding
        for start in range(0, len(pairs), PAIRS):
            image, caption = pairs[start : start + PAIRS].T
            scores[image, caption] = self.shortlist.score(images[image], texts[caption]).to(scores)
            self.done += len(image)
            self.progress("rescore pairs", min(self.done, self.pairs), self.pairs)
        return scores


def make_reranker(
    dataset: RetrievalDataset, scoring: Scoring, name: str, progress: Progress = silent
) -> Reranker | None:
    """Return the reranker for a split and its hard negatives; None if the method has no shortlist.

    Raises:
        FdrdError: there are more pairs than the limit.
    """
    shortlist = scoring.shortlist
    if shortlist is None:
        return None
    images, captions = len(dataset.image_digests), len(dataset.captions)
    pairs = images * min(shortlist.size, captions) + captions * min(shortlist.size, images)
    pairs += sum(1 + len(negatives) for negatives in dataset.negatives if negatives)
    if pairs > shortlist.pair_limit:
        raise FdrdError(
            f"{name}: {pairs:,} pairs would be rescored, each in its own pass of the text tower; "
            f"lower -M shortlist={shortlist.size}, or allow them with -M pair_limit={pairs}"
        )
    return Reranker(shortlist, pairs, progress)
