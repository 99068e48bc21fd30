"""What a method does at test time beside a product of features, and what must be said of it.

Most methods have nothing here. One that has (an attribute `scoring`) is scored by shortlist, or looks at
the images of captions, and its `remarks` stand beside its name wherever its results are printed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from benchmark.models.backbone import Features
from benchmark.models.image_batches import AnyImages
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError
from fdrd.progress import Progress, silent

if TYPE_CHECKING:
    from benchmark.registry import Method

PairScores = Callable[[Features, Features], Tensor]
"""Features of n images and of n captions -> (n,) scores within [-1, 1]."""

Leak = Callable[[Sequence[str], AnyImages], Features]
"""Captions and the image of each -> features of the captions that know their image."""

PAIRS = 256
"""Pairs that are scored again at a time."""

BELOW = 3.0
"""What takes a cosine below every other."""


@dataclass(frozen=True)
class Shortlist:
    """The best items of each query are scored again, pair by pair; all others stay below them.

    Attributes:
        size: items per query; more where the last of them is tied.
        pair_limit: pairs that a run may score again.
        score: of the pairs.
    """

    size: int
    pair_limit: int
    score: PairScores


@dataclass(frozen=True)
class Scoring:
    """How a method is scored at test time; epochs are chosen without it.

    Attributes:
        remarks: what must be said of its results: a word for its name, and the sentence behind it.
        shortlist: what is scored again.
        leak: features of captions that know the image of each: no retrieval, and marked as such.
    """

    remarks: Mapping[str, str] = field(default_factory=dict)
    shortlist: Shortlist | None = None
    leak: Leak | None = None


def scoring_of(method: Method) -> Scoring:
    """What a method has to say about its scoring, most often nothing."""
    found: Scoring = getattr(method, "scoring", Scoring())
    return found


class Again:
    """Scores the best items of some queries again.

    Args:
        shortlist: what and how.
        pairs: how many there will be in all, for the progress.
        progress: told about pairs done.
    """

    def __init__(self, shortlist: Shortlist, pairs: int, progress: Progress = silent):
        self.shortlist = shortlist
        self.pairs = pairs
        self.progress = progress
        self.done = 0

    def best(self, scores: Tensor, images: Features, texts: Features, dim: int) -> Tensor:
        """(I, C) scores: the highest along `dim` anew, the others below them.

        Args:
            scores: (I, C) first scores.
            images: features of the I images.
            texts: features of the C captions.
            dim: 1 for the captions of each image, 0 for the images of each caption.
        """
        size = min(self.shortlist.size, scores.shape[dim])
        bar = scores.topk(size, dim=dim).values.narrow(dim, size - 1, 1)
        return self.chosen(scores - BELOW, (scores >= bar).nonzero(), images, texts)

    def chosen(self, scores: Tensor, pairs: Tensor, images: Features, texts: Features) -> Tensor:
        """(I, C) scores, anew at some pairs (n, 2) of an image and a caption."""
        scores = scores.clone()
        pairs = pairs[
            pairs[:, 1].argsort(stable=True)
        ]  # those of a caption share what is plain of it
        for start in range(0, len(pairs), PAIRS):
            image, caption = pairs[start : start + PAIRS].T
            scores[image, caption] = self.shortlist.score(images[image], texts[caption]).to(scores)
            self.done += len(image)
            self.progress("encode pairs again", min(self.done, self.pairs), self.pairs)
        return scores


def again_on(
    dataset: RetrievalDataset, scoring: Scoring, name: str, progress: Progress = silent
) -> Again | None:
    """What scores the shortlists on a split again, and the candidates among hard negatives.

    Raises:
        FdrdError: they are more pairs than the limit.
    """
    shortlist = scoring.shortlist
    if shortlist is None:
        return None
    images, captions = len(dataset.image_digests), len(dataset.captions)
    pairs = images * min(shortlist.size, captions) + captions * min(shortlist.size, images)
    pairs += sum(1 + len(negatives) for negatives in dataset.negatives if negatives)
    if pairs > shortlist.pair_limit:
        raise FdrdError(
            f"{name}: {pairs:,} pairs would be encoded again, each in a pass of the text tower of its "
            f"own; lower -M shortlist={shortlist.size}, or allow them with -M pair_limit={pairs}"
        )
    return Again(shortlist, pairs, progress)
